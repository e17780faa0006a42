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
        help='Folder for console logs: a folder for each node, named by uuid, with segments and '
        'their index. Only the user of the service may read them. None: no logs. "obmd-manage '
        'console log" prints them.',
    ),
    cfg.IntOpt(
        'log_segment_size',
        default=4 * 1024 * 1024,
        min=65536,
        max=1024 * 1024 * 1024,
        help='Bytes of one segment of a console log with its index.',
    ),
    cfg.IntOpt(
        'log_segments',
        default=8,
        min=2,
        max=1000,
        help='Segments kept of each node; the oldest goes first. The disk holds at most '
        'log_segment_size * log_segments for each node: 32 MiB unless set, 128 GiB for 4,000 '
        'nodes. Each start of a conductor and each move of a node begins a segment; small ones '
        'count by their size.',
    ),
    cfg.FloatOpt(
        'log_keep',
        default=0,
        min=0,
        help='Days after its last byte at which a segment is removed, of deleted nodes too. 0: '
        'never. By the wall clock: one that jumps ahead removes logs early.',
    ),
    cfg.IntOpt(
        'log_queue_size',
        default=16 * 1024 * 1024,
        min=4096,
        help='Bytes of memory that may wait for the disk of log_dir, over all consoles. What '
        'comes while a stalled disk has filled it is missing in the logs, and marked there.',
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
