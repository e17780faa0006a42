"""The documents that this door answers with, in Ironic's form."""

from obmd.api.ramdisk import versions
from obmd.conf import CONF

_ABOUT = 'obmd: out-of-band management of bare metal, as far as ironic-python-agent asks for it'
#: what stands in the place of a secret
MASK = '******'
#: options of ironic-python-agent that obmd has no opinion on: Ironic's defaults, but for what
#: lets an agent run containers or trust a registry without TLS
_AGENT_OPTIONS = {
    'metrics': {
        'backend': 'noop',
        'prepend_host': False,
        'prepend_uuid': False,
        'prepend_host_reverse': True,
        'global_prefix': None,
    },
    'metrics_statsd': {'statsd_host': 'localhost', 'statsd_port': 8125},
    'agent_containers': {
        'allow_arbitrary_containers': False,
        'allowed_containers': [],
        'container_steps_file': '/etc/ironic-python-agent.d/mysteps.yaml',
        'runner': 'podman',
        'pull_options': '',
        'run_options': '',
        'container_conf_file': '/etc/containers/containers.conf',
    },
    'agent_token_required': True,
    'agent_md5_checksum_enable': False,
    'disable_deep_image_inspection': False,
    'permitted_image_formats': ['raw', 'gpt', 'qcow2', 'iso'],
    'agent_skip_bmc_detect': False,
    'enable_bios_bootloader_install': False,
    'tls_min_version': '1.3',
    'tls_cipher_suites': None,
}


def root(base):
    """``GET /``.  :param base: str, the URL of this API without a slash at its end."""
    version = _version(base)
    return {
        'name': 'OpenStack Ironic API',
        'description': _ABOUT,
        'default_version': version,
        'versions': [version],
    }


def first(base, collections):
    """``GET /v1``.  :param collections: names of those that are offered."""
    return {
        'id': 'v1',
        'links': [_link(f'{base}/v1/', 'self')],
        'media_types': {
            'base': 'application/json',
            'type': 'application/vnd.openstack.ironic.v1+json',
        },
        'version': _version(base),
        **{
            name: [_link(f'{base}/v1/{name}/', 'self'), _link(f'{base}/{name}/', 'bookmark')]
            for name in collections
        },
    }


def _version(base):
    return {
        'id': 'v1',
        'links': [_link(f'{base}/v1/', 'self')],
        'status': 'CURRENT',
        'min_version': versions.text(versions.LEAST),
        'version': versions.text(versions.MOST),
    }


def _link(url, rel):
    return {'href': url, 'rel': rel}


def lookup(base, uuid, properties, instance_info, token):
    """``GET /v1/lookup``.

    :param instance_info: dict without secrets, but for the configdrive where it is given.
    :param token: str, the agent's token, ``MASK``, or None: none was issued.
    """
    return {
        'node': {
            'uuid': uuid,
            'properties': properties,
            'instance_info': instance_info,
            'driver_internal_info': {},
            'links': [
                _link(f'{base}/v1/nodes/{uuid}', 'self'),
                _link(f'{base}/nodes/{uuid}', 'bookmark'),
            ],
        },
        'config': {
            **_AGENT_OPTIONS,
            'heartbeat_timeout': CONF.agent.heartbeat_timeout,
            'agent_token': token,
        },
    }
