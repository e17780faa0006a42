"""[conductor]"""

from oslo_config import cfg

OPTIONS = [
    cfg.StrOpt(
        'listen',
        default='127.0.0.1:8381',
        help='host:port on which streams are served to viewers and to the API.',
    ),
    cfg.StrOpt(
        'callback_url',
        help='URL under which viewers and the API reach "listen". Made from it by default. '
        'Plain http off loopback needs "insecure".',
    ),
    cfg.StrOpt('tls_cert', help='PEM certificate (chain) of the callback listener.'),
    cfg.StrOpt('tls_key', help='PEM private key of the callback listener.'),
    cfg.BoolOpt(
        'insecure',
        default=False,
        help='Allow a plain-http callback URL off loopback. Tickets and console output then '
        'cross the network in clear.',
    ),
    cfg.StrOpt(
        'group',
        default='',
        help='conductor_group whose nodes this conductor may own, e.g. a rack.',
    ),
    cfg.IntOpt(
        'ring_partitions',
        default=512,
        min=32,
        max=65536,
        help='Partitions of a conductor on the hash ring; the same on every conductor and API. '
        'Fewer balance worse, more cost memory.',
    ),
    cfg.FloatOpt(
        'heartbeat_interval',
        default=2.0,
        min=0.1,
        help="Seconds between two renewals of this conductor's row, and between two looks at "
        "the others'.",
    ),
    cfg.FloatOpt(
        'heartbeat_ttl',
        default=10.0,
        min=0.5,
        help='Seconds without a new beat after which a conductor counts as dead. Too short and '
        'a busy database looks like a dead conductor.',
    ),
    cfg.IntOpt(
        'rpc_pool',
        default=1000,
        min=8,
        help='Calls that are worked on at once, each a green thread that mostly waits.',
    ),
    cfg.IntOpt(
        'max_waiting',
        default=64,
        min=1,
        help='Reads of one node that may wait at once for a BMC that has not answered for a '
        'second; the next is answered 503. So no node with a dead BMC takes the whole pool.',
    ),
    cfg.IntOpt(
        'max_writes',
        default=8,
        min=1,
        help='Power and boot device calls of one node that may wait at once; the next is '
        'answered 409.',
    ),
    cfg.FloatOpt(
        'power_timeout',
        default=60.0,
        min=1,
        help='Seconds a BMC has to reach a power state that it has accepted. Some take 46.',
    ),
    cfg.FloatOpt(
        'soft_off_timeout',
        default=300.0,
        min=60,
        help='Seconds that a node has to shut down in a soft power cycle before the cycle is '
        'given up.',
    ),
    cfg.FloatOpt(
        'sweep_timeout',
        default=30.0,
        min=0.1,
        help='Longest deadline in seconds that a sweep may ask for.',
    ),
    cfg.FloatOpt(
        'stop_timeout',
        default=3.5,
        min=0.5,
        help='Seconds a conductor takes at most to end SOL sessions and log out at SIGTERM.',
    ),
    cfg.FloatOpt(
        'handover_timeout',
        default=30.0,
        min=0,
        help='Seconds before that in which a conductor hands its nodes over to others of its '
        'group, if there are any. What it could not hand over they take when it has gone. '
        "Systemd's TimeoutStopSec must be longer than both together.",
    ),
]
