"""[azure]"""

from oslo_config import cfg

OPTIONS = [
    cfg.StrOpt('subscription_id', default='', help='Subscription that the machines are in.'),
    cfg.StrOpt('tenant_id', default='', help='Tenant of the application that obmd is there.'),
    cfg.StrOpt(
        'client_id',
        default='',
        help='Application (client) id. Empty: the managed identity of the machine that the '
        'conductor runs on.',
    ),
    cfg.StrOpt(
        'client_secret_file',
        default='',
        help="File (0600) with the application's secret; whoever reads it can do what the "
        'application may.',
    ),
    cfg.StrOpt(
        'endpoint_url',
        default='https://management.azure.com',
        help='URL of the Resource Manager. It is sent tokens: https only.',
    ),
    cfg.StrOpt(
        'authority_url',
        default='https://login.microsoftonline.com',
        help='URL that gives tokens. It is sent the secret: https only.',
    ),
    cfg.StrOpt(
        'ca_file',
        default='',
        help='PEM file of the authorities that may have signed the certificates of both. Empty: '
        'those that the Azure library brings.',
    ),
    cfg.FloatOpt(
        'timeout',
        default=30.0,
        min=1,
        help='Seconds within which Azure has to answer, tries over again included.',
    ),
]
