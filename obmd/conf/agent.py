"""[agent]"""

from oslo_config import cfg

OPTIONS = [
    cfg.BoolOpt(
        'enable_ramdisk_endpoints',
        default=True,
        help='Serve /v1/lookup and /v1/heartbeat to ironic-python-agent. false answers 404 to both '
        'on every listener.',
    ),
    cfg.StrOpt(
        'listen',
        default='',
        help='host:port of one more listener, for the provisioning network. It serves lookup, '
        'heartbeat and their discovery only. Empty: they are on [api] listen alone. Plain HTTP '
        'off loopback needs "insecure".',
    ),
    cfg.StrOpt('tls_cert', help='PEM certificate (chain) of "listen".'),
    cfg.StrOpt('tls_key', help='PEM private key of "listen".'),
    cfg.BoolOpt(
        'insecure',
        default=False,
        help='Allow plain HTTP on "listen" off loopback. Whoever listens on the provisioning '
        'network then reads agent tokens and configdrives.',
    ),
    cfg.BoolOpt(
        'require_tls',
        default=True,
        help='Take only https callback URLs from agents. false lets whoever listens on the '
        'provisioning network read what is sent to agents.',
    ),
    cfg.BoolOpt(
        'allow_local_callback',
        default=False,
        help='Take callback URLs at loopback, link-local and unspecified addresses, for tests. '
        "They make obmd's operators and programs call into the machine that they run on.",
    ),
    cfg.StrOpt(
        'lookup_configdrive',
        default='first',
        choices=['first', 'always', 'never'],
        help='Which lookup answers tell instance_info.configdrive: the one that issues the agent '
        'token, each one, or none. "always" gives it to whoever knows a MAC or UUID of a node '
        'that expects an agent.',
    ),
    cfg.IntOpt(
        'heartbeat_timeout',
        default=300,
        min=1,
        max=86400,
        help='Seconds without a heartbeat after which an agent does not count as alive. Agents '
        'are told and beat after 0.3 to 0.6 of it, so a small one costs requests.',
    ),
    cfg.IntOpt(
        'expect_timeout',
        default=3600,
        min=1,
        max=31536000,
        help='Seconds for which a node expects an agent when nothing else is said. While it does, '
        'the first who knows one of its MACs gets its agent token.',
    ),
    cfg.BoolOpt(
        'expect_on_pxe',
        default=False,
        help='A boot device set to pxe through obmd makes the node expect an agent for '
        '"expect_timeout".',
    ),
    cfg.IntOpt(
        'max_beats',
        default=200,
        min=1,
        help='Heartbeats that wait in one process of the API for one conductor, and heartbeats and '
        'lookups that it looks up at once; the next is answered 503 with Retry-After, and agents '
        'try again by themselves. A larger number lets them wait for longer when there is too '
        'much to do.',
    ),
    cfg.IntOpt(
        'rate_per_address',
        default=500,
        min=0,
        help='Lookups and heartbeats a second that the API takes from one address; the next is '
        'answered 429 with Retry-After. Each of [api] workers takes its part of them: connections '
        'are spread over them by chance. Each 4 KiB of a query or body count as one '
        'more. 0 is no limit: guesses then cost as much as the machine has. Behind a proxy all '
        'agents are one address unless [oslo_middleware] enable_proxy_headers_parsing is set.',
    ),
    cfg.IntOpt(
        'rate_per_node',
        default=30,
        min=0,
        help='Lookups and heartbeats a minute that one process of the API takes for one node from '
        'one address; the next is answered 429 with Retry-After. Each address is counted by '
        "itself, so that nobody can use up what the node's own agent has. 0 is no limit.",
    ),
    cfg.StrOpt(
        'policy_file',
        default='',
        help='YAML file with rules of oslo.policy in place of the built-in ones '
        '(baremetal:driver:ipa_lookup, baremetal:node:ipa_heartbeat), which let everybody in. '
        'Empty: no file. It is read at start; a file that cannot be used ends the start.',
    ),
]
