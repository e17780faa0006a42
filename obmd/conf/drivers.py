"""[drivers]"""

from oslo_config import cfg

OPTIONS = [
    cfg.ListOpt(
        'enabled',
        default=['ipmi', 'none', 'mock', 'dummy'],
        help='Drivers that nodes may be registered with: names of entry points in the group '
        'obmd.drivers. One that cannot be imported stops the start.',
    ),
]
