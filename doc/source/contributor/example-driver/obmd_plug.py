"""The ``plug`` driver: a machine without a BMC behind a Tasmota power plug.

https://tasmota.github.io/docs/Commands/: GET /cm?cmnd=Power answers {"POWER":"ON"}.
"""

import http.client
import json
import urllib.parse

from obmd.common import errors
from obmd.drivers import base


class PlugDriver(base.Driver, base.Power):
    """``info``: ``{"addr": "host" or "host:port", "password": str}``, the password optional."""

    schema = {
        'type': 'object',
        'required': ['addr'],
        'properties': {
            'addr': {'type': 'string', 'maxLength': 255, 'description': 'host or host:port'},
            'password': {'type': 'string', 'maxLength': 64, 'description': 'Web password.'},
        },
    }
    secret_fields = ('password',)
    # a plug knows on and off: a power cycle is ours to do, and there is no soft one
    cycles_itself = True

    @classmethod
    def address(cls, info):
        return info['addr']

    def power_status(self, deadline):
        return self._ask('Power', deadline)

    def set_power(self, action, deadline):
        steps = (self.OFF, self.ON) if action == self.CYCLE else (action,)
        for step in steps:
            if step not in (self.ON, self.OFF):
                raise self._error(errors.BmcRefused, f'a plug cannot {step}')
            if self._ask(f'Power {step}', deadline) != step:
                raise self._error(errors.StateNotReached, f'it did not go {step}')

    def _ask(self, command, deadline):
        """:returns: ``on`` or ``off``, as the plug answers."""
        query = {'cmnd': command}
        if 'password' in self.info:
            query |= {'user': 'admin', 'password': self.info['password']}
        timeout = max(0.1, deadline.within(self.answer_within).remaining)
        connection = http.client.HTTPConnection(self.info['addr'], timeout=timeout)
        try:
            connection.request('GET', f'/cm?{urllib.parse.urlencode(query)}')
            answer = connection.getresponse()
            content = answer.read(4096)
        except OSError as error:
            reason = f'no answer: {type(error).__name__}'
            raise self._error(errors.BmcSilent, reason) from None
        finally:
            connection.close()
        if answer.status == 401:
            raise self._error(errors.CredentialsRefused, 'the password is wrong')
        try:
            return {'ON': self.ON, 'OFF': self.OFF}[json.loads(content)['POWER']]
        except (ValueError, KeyError, TypeError):
            raise self._error(errors.BmcRefused, 'an answer without POWER') from None

    def _error(self, kind, text):
        return kind(f'plug {self.info["addr"]}: {text}', self.node.name)
