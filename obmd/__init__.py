"""obmd: the out-of-band management plane for bare metal."""

import warnings

# A notice to eventlet's users is none to ours.
warnings.filterwarnings('ignore', message=r'\s*Eventlet is deprecated')
