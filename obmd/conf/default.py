"""[DEFAULT]"""

import socket

from oslo_config import cfg

OPTIONS = [
    cfg.StrOpt(
        'host',
        default=socket.gethostname(),
        sample_default='<host name>',
        help='Name of this conductor, unique in the fleet. Two live conductors of one name are '
        'refused; a changed name makes the nodes move.',
    ),
    cfg.StrOpt(
        'state_path',
        default='./obmd-state',
        help='Folder (0700) of what a service must keep: keys, the admin token, the SQLite '
        'file. Whoever reads it can read every BMC password.',
    ),
]
