"""[dummy]"""

from oslo_config import cfg

OPTIONS = [
    cfg.BoolOpt(
        'allow',
        default=False,
        help='Let the dummy driver connect to addresses that are not loopback. Whoever may '
        'register a node can then make the conductor connect anywhere.',
    ),
]
