"""[api]"""

from oslo_config import cfg

OPTIONS = [
    cfg.StrOpt(
        'listen',
        default='127.0.0.1:8380',
        help='host:port, :port or [v6]:port to serve HTTP on. Plain HTTP off loopback needs '
        '"insecure".',
    ),
    cfg.IntOpt(
        'workers',
        default=1,
        min=1,
        max=256,
        help='Processes of obmd-api that share the port. The all-in-one has one.',
    ),
    cfg.StrOpt(
        'admin_token_file',
        help='File (0600) with the admin token, 32 hexadecimal digits. The all-in-one makes '
        '<state_path>/admin-token; obmd-api refuses to start without one.',
    ),
    cfg.StrOpt('tls_cert', help='PEM certificate (chain) of the listener.'),
    cfg.StrOpt('tls_key', help='PEM private key of the listener.'),
    cfg.BoolOpt(
        'insecure',
        default=False,
        help='Allow plain HTTP on an address that is not loopback. Tokens and console output '
        'then cross the network in clear.',
    ),
    cfg.StrOpt(
        'default_group',
        default='',
        help='conductor_group of a node for which neither the caller nor group_by_network says '
        'one. Empty is the group of conductors without a group.',
    ),
    cfg.ListOpt(
        'group_by_network',
        default=[],
        sample_default='10.1.0.0/16:rack1,2001:db8:2::/48:rack2',
        help='CIDR:group pairs that put a node into a group by the address of its BMC. The '
        'longest prefix wins.',
    ),
    cfg.IntOpt(
        'max_range',
        default=20000,
        min=1,
        help='Nodes that one range may name. A larger number costs memory and time per request.',
    ),
    cfg.StrOpt(
        'console_delivery',
        default='redirect',
        choices=['redirect', 'proxy'],
        help='How a console reaches a viewer: 307 to the conductor, or through the API where '
        'viewers cannot reach conductors (each byte then passes twice).',
    ),
    cfg.StrOpt(
        'conductor_cafile',
        help="PEM file of the authority that signed the conductors' callback certificates, if "
        "it is not one of the system's.",
    ),
    cfg.IntOpt(
        'max_body',
        default=65536,
        min=1024,
        help='Bytes of request body accepted; a longer one is answered 413.',
    ),
    cfg.BoolOpt(
        'restrict_lookup',
        default=True,
        help='Let the lookup of ironic-python-agent find only nodes that expect an agent. false: '
        'every node, so whoever knows a MAC gets a token for a node that has none.',
    ),
    cfg.IntOpt(
        'max_connections',
        default=8192,
        min=16,
        help='Connections one process serves at once, idle ones and streams included.',
    ),
    cfg.IntOpt(
        'max_streams',
        default=4096,
        min=1,
        help='Streams (consoles, sweeps) one process passes on at once; the next is answered '
        '503 with Retry-After.',
    ),
    cfg.FloatOpt(
        'call_timeout',
        default=90.0,
        min=1,
        help='Seconds after which a call to a conductor is given up. Above [conductor] '
        'power_timeout.',
    ),
]
