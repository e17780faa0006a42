"""[machine_types]"""

from oslo_config import cfg

_AWS = {
    'general-small': 't3.medium',
    'general-medium': 't3.xlarge',
    'general-large': 't3.2xlarge',
    'compute-small': 'c5.large',
    'compute-medium': 'c5.xlarge',
    'compute-large': 'c5.2xlarge',
    'gpu-small': 'p3.2xlarge',
    'gpu-medium': 'p3.8xlarge',
    'gpu-large': 'p3.16xlarge',
    'mem-small': 'r5.large',
    'mem-medium': 'r5.xlarge',
    'mem-large': 'r5.2xlarge',
}
_AZURE = {
    'general-small': 'Standard_B2s',
    'compute-small': 'Standard_F2s_v2',
    'compute-medium': 'Standard_F4s_v2',
    'compute-large': 'Standard_F8s_v2',
    'gpu-small': 'Standard_NC6s_v3',
    'gpu-medium': 'Standard_NC24s_v3',
    'mem-small': 'Standard_E2_v4',
    'mem-medium': 'Standard_E4_v4',
    'mem-large': 'Standard_E8_v4',
}

OPTIONS = [
    cfg.DictOpt(
        'aws',
        default=_AWS,
        help='Names that estate-change takes on nodes of the driver aws, and the instance type of '
        'each. Who may run estate-change spends what they cost.',
    ),
    cfg.DictOpt(
        'azure',
        default=_AZURE,
        help='The same on nodes of the driver azure: names and sizes of machines.',
    ),
]
