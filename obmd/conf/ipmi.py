"""[ipmi]"""

from oslo_config import cfg

OPTIONS = [
    cfg.FloatOpt(
        'deadline',
        default=5.0,
        min=0.2,
        help='Seconds a BMC has to answer a command, login included. Then the caller gets 504.',
    ),
    cfg.FloatOpt(
        'min_interval',
        default=0.0,
        min=0,
        help='Least seconds between two commands to one BMC, for BMCs that hang when hurried.',
    ),
    cfg.IntOpt(
        'max_logins',
        default=100,
        min=1,
        help='Logins under way at once over all BMCs that answer. More make all of them slow by '
        'retransmission.',
    ),
    cfg.FloatOpt(
        'keepalive_interval',
        default=20.0,
        min=1,
        max=29,
        help='Seconds of silence after which an idle session is kept alive. BMCs drop sessions '
        'after 30 to 60.',
    ),
    cfg.FloatOpt(
        'sol_probe_interval',
        default=3.0,
        min=0.5,
        help='Seconds of silence on a console after which its session is probed; a drop is '
        'noticed within this and probe_timeout.',
    ),
    cfg.FloatOpt(
        'probe_timeout',
        default=3.0,
        min=0.2,
        help='Seconds a probe may stay unanswered before the session counts as lost.',
    ),
]
