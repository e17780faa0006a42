"""[metrics]"""

from oslo_config import cfg

OPTIONS = [
    cfg.BoolOpt(
        'enabled',
        default=True,
        help='Answer GET /metrics. What it tells is counted in any case.',
    ),
    cfg.StrOpt(
        'listen',
        default='',
        help='host:port on which /metrics is served, and nowhere else; empty: where the service '
        'listens. It is plain http without credentials, off loopback too: it holds no secret and '
        'no name of a node, but who reaches it learns the size of the fleet, its load and the '
        'version of obmd. Services on one host need different ports. Another WSGI server '
        'than that of obmd-api opens no such address: /metrics is nowhere then.',
    ),
]
