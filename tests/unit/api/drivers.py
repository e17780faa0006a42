"""Drivers for tests of the API: classes with schemas; no instance is ever made."""

from obmd.common import errors
from obmd.drivers import base
from obmd.drivers import dummy
from obmd.drivers import mock


class Picky(base.Driver, base.Power, base.EventLog):
    """Strict fields, a secret, no console and no boot device."""

    aliases = ('http://example.org/picky',)
    secret_fields = ('password',)
    schema = {
        'type': 'object',
        'required': ['host', 'password'],
        'properties': {
            'host': {'type': 'string', 'minLength': 1, 'maxLength': 20},
            'password': {'type': 'string', 'maxLength': 20},
            'port': {'type': 'integer', 'minimum': 1, 'maximum': 65535},
            'privilege': {'enum': ['user', 'administrator']},
        },
    }

    @classmethod
    def normalise(cls, info):
        if info['host'] == 'nowhere':
            raise errors.InvalidInput('info.host is nowhere')
        return {**info, 'port': info.get('port', 623)}

    @classmethod
    def address(cls, info):
        return info['host']


ALL = {'mock': mock.MockDriver, 'dummy': dummy.DummyDriver, 'picky': Picky}
