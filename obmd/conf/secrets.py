"""[secrets]"""

from oslo_config import cfg

OPTIONS = [
    cfg.StrOpt(
        'public_key_file',
        help="File with the conductors' public key, by which the API seals BMC credentials. "
        'Default: <state_path>/conductor.pub.',
    ),
    cfg.StrOpt(
        'private_key_file',
        help="File (0600) with the conductors' private keys; only conductors have it. "
        'Default: <state_path>/conductor.key.',
    ),
]
