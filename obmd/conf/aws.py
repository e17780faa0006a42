"""[aws]"""

from oslo_config import cfg

OPTIONS = [
    cfg.StrOpt(
        'credentials_file',
        default='',
        help='File with access keys as the AWS tools read it; whoever reads it can do what they '
        'allow. Empty: what those tools would take, among it the role of the instance that the '
        'conductor runs on.',
    ),
    cfg.StrOpt('profile', default='', help='Profile in that file. Empty: "default".'),
    cfg.StrOpt('region', default='', help='Region of nodes that have no aws_region.'),
    cfg.StrOpt(
        'endpoint_url',
        default='',
        help='URL of the EC2 API. Empty: that of the region. Access keys are not sent, only what '
        'is signed with them, but what runs there decides what nodes do.',
    ),
    cfg.StrOpt(
        'ca_file',
        default='',
        help='PEM file of the authorities that may have signed the certificate of "endpoint_url". '
        'Empty: those that the AWS library brings.',
    ),
    cfg.FloatOpt(
        'timeout',
        default=20.0,
        min=1,
        help='Seconds within which EC2 has to answer, tries over again included.',
    ),
]
