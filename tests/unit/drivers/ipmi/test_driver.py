import jsonschema
import pytest

from obmd.common import errors
from obmd.drivers import base
from obmd.drivers.ipmi.driver import IpmiDriver

OBMD = {'addr': '192.0.2.5', 'user': 'ADMIN', 'pass': 'secret'}
HAAS = {'host': '192.0.2.5', 'user': 'ADMIN', 'password': 'secret'}


def normalise(info):
    jsonschema.validate(info, IpmiDriver.schema)
    return IpmiDriver.normalise(info)


@pytest.mark.parametrize('info', [OBMD, HAAS, OBMD | {'unknown': [1]}])
def test_both_spellings_and_unknown_keys(info):
    expected = {'addr': '192.0.2.5', 'port': 623, 'user': 'ADMIN', 'password': 'secret'}
    assert normalise(info) == expected


def test_what_was_normalised_stays():
    info = normalise(
        OBMD | {'kg': 'key', 'cipher_suite': 17, 'privilege': 'operator', 'port': 6230}
    )
    assert normalise(info) == info


@pytest.mark.parametrize('field', ['addr', 'user', 'pass'])
def test_a_missing_field_is_named(field):
    info = {k: v for k, v in OBMD.items() if k != field}
    with pytest.raises((errors.InvalidInput, jsonschema.ValidationError), match=field):
        normalise(info)


@pytest.mark.parametrize(
    ('field', 'value'),
    [
        ('port', 0),
        ('port', '623'),
        ('cipher_suite', 0),
        ('privilege', 'root'),
        ('user', 7),
        ('user', 'u' * 17),
        ('pass', 'p' * 21),
        ('pass', 'ü' * 11),
        ('kg', 'k' * 21),
        ('addr', ''),
        ('addr', 'a b'),
        ('addr', 'a\0'),
        ('addr', None),
    ],
)
def test_a_wrong_value_is_refused(field, value):
    with pytest.raises((errors.InvalidInput, jsonschema.ValidationError)):
        normalise(OBMD | {field: value})


@pytest.mark.parametrize(
    ('addr', 'address'),
    [
        ('192.0.2.5', '192.0.2.5:623'),
        ('2001:db8::1', '[2001:db8::1]:623'),
        ('[2001:db8::1]', '[2001:db8::1]:623'),
        ('bmc.example.com', 'bmc.example.com:623'),
    ],
)
def test_address(addr, address):
    assert IpmiDriver.address(normalise(OBMD | {'addr': addr})) == address


def test_every_field_is_described():
    assert all(f.get('description') for f in IpmiDriver.schema['properties'].values())


def test_secrets_show_nowhere():
    driver = IpmiDriver(base.NodeRef('n1', 'uuid'), normalise(OBMD | {'kg': 'topkey'}))
    shown = repr(vars(driver._bmc)) + repr(driver._bmc.account)
    assert 'secret' not in shown
    assert 'topkey' not in shown


def test_capabilities():
    found = base.capabilities(IpmiDriver)
    assert found == ['boot_device', 'console', 'event_log', 'power']


class TestFromParameters:
    def test_credentials_are_found_and_the_rest_is_left(self):
        given = {'ipmi_username': 'u', 'ipmi_password': 'p', 'ip': '10.0.0.1', 'ipmi_x': 5}
        info, left = IpmiDriver.from_parameters('n1', given)
        assert info == {'addr': 'n1.bmc', 'user': 'u', 'password': 'p'}
        assert left == {'ip': '10.0.0.1', 'ipmi_x': 5}
        assert given['ipmi_password'] == 'p'

    def test_a_host_and_a_port_may_be_given(self):
        given = {'ipmi_username': 'u', 'ipmi_password': 'p', 'ipmi_host': '10.0.0.1'}
        info, left = IpmiDriver.from_parameters('n1', {**given, 'ipmi_port': 6230})
        assert (info['addr'], info['port'], left) == ('10.0.0.1', 6230, {})

    @pytest.mark.parametrize('given', [{}, {'ip': 'x'}, {'ipmi_host': 'x'}])
    def test_without_credentials_there_is_nothing_of_it(self, given):
        assert IpmiDriver.from_parameters('n1', given) is None

    @pytest.mark.parametrize(
        'given',
        [
            {'ipmi_username': 'u'},
            {'ipmi_password': 'geheim'},
            {'ipmi_username': 'u', 'ipmi_password': 123},
            {'ipmi_username': True, 'ipmi_password': 'geheim'},
            {'ipmi_username': 'u', 'ipmi_password': 'geheim', 'ipmi_host': ['x']},
            {'ipmi_username': None, 'ipmi_password': 'geheim'},
        ],
    )
    def test_what_is_no_credential_is_named_and_not_told(self, given):
        with pytest.raises(errors.InvalidInput, match='ipmi_') as caught:
            IpmiDriver.from_parameters('n1', given)
        assert 'geheim' not in caught.value.reason
