"""The ``ipmi`` driver: BMCs that speak IPMI 2.0 over RMCP+."""

from obmd.common import errors
from obmd.conf import CONF
from obmd.drivers import base
from obmd.drivers.ipmi import chassis
from obmd.drivers.ipmi import sel
from obmd.drivers.ipmi import sol
from obmd.drivers.ipmi.account import Account
from obmd.drivers.ipmi.bmc import Bmc

_PRIVILEGES = {'user': 2, 'operator': 3, 'administrator': 4}
#: bytes; user: IPMI 2.0 section 22.28; password and K_g: sections 22.30 and 22.25
_LONGEST = {'user': 16, 'password': 20, 'kg': 20}
#: other spellings (OBMd's and HaaS's) of our names
_SPELLINGS = {'host': 'addr', 'pass': 'password'}
#: free parameters of a node that are credentials, and our names for them
_PARAMETERS = {
    'ipmi_host': 'addr',
    'ipmi_port': 'port',
    'ipmi_username': 'user',
    'ipmi_password': 'password',
}


def _text(description, length=255):
    return {'type': 'string', 'maxLength': length, 'description': description}


class IpmiDriver(base.Driver, base.Power, base.BootDevice, base.Console, base.EventLog):
    """``info``: see ``schema``."""

    aliases = ('http://schema.massopencloud.org/haas/v0/obm/ipmi',)
    secret_fields = ('password', 'pass', 'kg')
    boot_devices = tuple(chassis.BOOT_DEVICES)
    schema = {
        'type': 'object',
        'properties': {
            'addr': _text('Address or name of the BMC.'),
            'host': _text('The same, as HaaS calls it.'),
            'user': _text('User name, up to 16 bytes.'),
            'pass': _text('Password, up to 20 bytes.'),
            'password': _text('The same, as HaaS calls it.'),
            'port': {
                'type': 'integer',
                'minimum': 1,
                'maximum': 65535,
                'description': 'UDP port of the BMC; 623 if not given.',
            },
            'cipher_suite': {
                'enum': [3, 17],
                'description': 'Use this cipher suite only (17: SHA-256, 3: SHA-1). If not given: '
                '17, and 3 where the BMC does not know it.',
            },
            'privilege': {
                'enum': list(_PRIVILEGES),
                'description': 'Log in at this level only. If not given: administrator, and '
                'operator where the BMC refuses that.',
            },
            'kg': _text('K_g, the key of the BMC itself, up to 20 bytes, where it has one.'),
        },
        'required': ['user'],
    }

    def __init__(self, node, info):
        super().__init__(node, info)
        kg = info.get('kg')
        self._bmc = Bmc(
            Account(
                node=node.name,
                host=info['addr'],
                port=info['port'],
                user=info['user'].encode(),
                password=info['password'].encode(),
                kg=kg.encode() if kg else None,
                privilege=_PRIVILEGES.get(info.get('privilege')),
                cipher_suite=info.get('cipher_suite'),
            )
        )

    @classmethod
    def normalise(cls, info):
        """:returns: dict with ``addr, port, user, password`` and what else was given."""
        known = {_SPELLINGS.get(k, k): v for k, v in info.items() if k in cls.schema['properties']}
        known.update((k, v) for k, v in info.items() if k in known)
        for field, other in (('addr', 'host'), ('password', 'pass')):
            if field not in known:
                raise errors.InvalidInput(f'{field}: missing (or {other})')
        known.setdefault('port', 623)
        host = known['addr'].strip()
        if host.startswith('[') and host.endswith(']'):
            host = host[1:-1]
        if not host or '\0' in host or any(c.isspace() for c in host):
            raise errors.InvalidInput('addr: not an address or host name')
        known['addr'] = host
        for field, longest in _LONGEST.items():
            if len(known.get(field, '').encode()) > longest:
                raise errors.InvalidInput(f'{field}: longer than {longest} bytes')
        return known

    @classmethod
    def from_parameters(cls, name, parameters):
        """``ipmi_username``, ``ipmi_password``, ``ipmi_host`` (else NAME.bmc), ``ipmi_port``."""
        given = [one for one in ('ipmi_username', 'ipmi_password') if one in parameters]
        if not given:
            return None
        if len(given) == 1:
            raise errors.InvalidInput(f'{given[0]} wants ipmi_username and ipmi_password both')
        found = {one: parameters[one] for one in _PARAMETERS if one in parameters}
        for one, value in found.items():
            if not isinstance(value, str) and one != 'ipmi_port':
                raise errors.InvalidInput(f'{one} must be text: put it in quotes')
        info = {'addr': f'{name}.bmc'} | {_PARAMETERS[one]: found[one] for one in found}
        return info, {one: value for one, value in parameters.items() if one not in found}

    @classmethod
    def address(cls, info):
        host = info['addr']
        return f'[{host}]:{info["port"]}' if ':' in host else f'{host}:{info["port"]}'

    @property
    def answer_within(self):
        return CONF.ipmi.deadline

    @property
    def reachability(self):
        return self._bmc.reachability

    def power_status(self, deadline):
        return chassis.power_status(self._bmc, deadline)

    def set_power(self, action, deadline):
        chassis.set_power(self._bmc, action, deadline)

    def set_boot_device(self, device, deadline):
        chassis.set_boot_device(self._bmc, device, deadline)

    def boot_device(self, deadline):
        return chassis.boot_device(self._bmc, deadline)

    def event_log(self, deadline, limit):
        return sel.event_log(self._bmc, deadline, limit)

    def open_console(self, sink, deadline, takeover=False):
        limit = deadline.within(CONF.ipmi.deadline)
        return sol.open_console(self._bmc, sink, limit, takeover, self.authorise)

    def reopen(self):
        """The credentials may be tried again after a :class:`CredentialsRefused`."""
        self._bmc.reopen()

    def close(self, deadline):
        self._bmc.close(deadline)

    def abort(self, error):
        self._bmc.abort(error)
