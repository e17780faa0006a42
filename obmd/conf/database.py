"""[database]: only what obmd adds; ``connection`` and the pool's options are oslo.db's."""

from oslo_config import cfg

OPTIONS = [
    cfg.FloatOpt(
        'statement_timeout',
        default=10.0,
        min=0.1,
        help='Seconds after which the server ends a statement of obmd.',
    ),
    cfg.FloatOpt(
        'connect_timeout', default=5.0, min=1, help='Seconds to wait for a new connection.'
    ),
]
