"""[console]"""

from oslo_config import cfg

OPTIONS = [
    cfg.StrOpt(
        'capture',
        default='on_demand',
        choices=['always', 'on_demand'],
        help='Hold every console open (history exists before the first viewer), or open it with '
        'the first viewer. "always" keeps other SOL clients out.',
    ),
    cfg.IntOpt(
        'ring_size',
        default=65536,
        min=4096,
        max=16 * 1024 * 1024,
        help='Bytes of history kept in memory per console.',
    ),
    cfg.StrOpt(
        'log_dir',
        help='Folder for console logs, one file a node, named by uuid. None: no logs.',
    ),
    cfg.FloatOpt(
        'revocation_check_interval',
        default=5.0,
        min=0.1,
        help='Seconds within which a stream whose token was revoked ends even if every message '
        'about it was lost.',
    ),
    cfg.FloatOpt(
        'revocation_grace',
        default=30.0,
        min=0.1,
        help='Seconds a stream may go on when the database was asked about its token and did '
        'not answer.',
    ),
    cfg.FloatOpt(
        'linger',
        default=5.0,
        min=0,
        help='Seconds an on-demand console stays open after its last viewer has gone.',
    ),
    cfg.FloatOpt(
        'connect_timeout',
        default=10.0,
        min=0.5,
        help='Seconds a first viewer waits at most for the console to open.',
    ),
    cfg.FloatOpt(
        'retry_min', default=1.0, min=0.1, help='First pause in seconds before a reconnect.'
    ),
    cfg.FloatOpt(
        'retry_max',
        default=60.0,
        min=1,
        help='Longest pause in seconds between two reconnects.',
    ),
    cfg.IntOpt(
        'max_viewers',
        default=4096,
        min=1,
        help='Viewers one conductor serves at once; the next is answered 503.',
    ),
    cfg.FloatOpt(
        'ticket_ttl',
        default=10.0,
        min=1,
        help='Seconds that a redirected viewer has to follow the redirect.',
    ),
]
