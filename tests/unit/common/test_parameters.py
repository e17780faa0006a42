"""What a node's free parameters may be: whatever a script may safely find in its environment."""

import datetime

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from obmd.common import errors
from obmd.common import parameters


def refused(given, match):
    with pytest.raises(errors.InvalidInput, match=match) as caught:
        parameters.check(given)
    assert 'secret' not in caught.value.reason


def test_texts_numbers_booleans_lists_and_maps_are_values():
    parameters.check(
        {
            'ip': '10.0.0.1',
            '_x9': '',
            'cores': 64,
            'huge': 2**70,
            'ratio': 0.5,
            'gpu': True,
            'disks': ['sda', 1, None, {'é': [False]}],
            'text': 'two\nlines "quoted" \'too\' $(id) é😀',
        }
    )
    parameters.check({})


@pytest.mark.parametrize('given', [None, [], 'text', 5, True])
def test_parameters_are_an_object(given):
    refused(given, 'parameters must be an object')


@pytest.mark.parametrize(
    'name', ['', '1a', 'a-b', 'a b', 'a=b', 'é', 'a\n', 'a\0', '\ud800', 5, None, True, 'a' * 256]
)
def test_a_name_is_one_of_an_environment_variable(name):
    refused({name: 'secret'}, 'is no name of one')


@pytest.mark.parametrize(
    'name',
    [
        *('PATH', 'HOME', 'USER', 'SHELL', 'IFS', 'ENV', 'PS4', 'SHELLOPTS'),
        *('BASH_ENV', 'BASHOPTS', 'BASH', 'LD_PRELOAD', 'LD_LIBRARY_PATH', 'DYLD_X', 'PYTHONPATH'),
        *('PERL5LIB', 'RUBYOPT', 'NODE_OPTIONS', 'GIT_SSH', 'SSH_AUTH_SOCK', 'AWS_PROFILE'),
        *(
            'MAKEFLAGS',
            'MFLAGS',
            'GNUMAKEFLAGS',
            'LUA_INIT',
            'GCONV_PATH',
            'OPENSSL_CONF',
            'ZDOTDIR',
        ),
        *(
            'JAVA_TOOL_OPTIONS',
            '_JAVA_OPTIONS',
            'JDK_JAVA_OPTIONS',
            'LESSOPEN',
            'LESSCLOSE',
            'PAGER',
        ),
        *(
            'EDITOR',
            'VISUAL',
            'GLIBC_TUNABLES',
            'LOCPATH',
            'NLSPATH',
            'KUBECONFIG',
            'TMPDIR',
            'LANG',
        ),
        *('LC_ALL', 'TERMINFO', 'TERMCAP', 'HOSTALIASES', 'RES_OPTIONS', 'RESOLV_HOST_CONF'),
        *(
            'MALLOC_CHECK_',
            'CLASSPATH',
            'MANPAGER',
            'SUDO_ASKPASS',
            'PROMPT_COMMAND',
            'TAR_OPTIONS',
        ),
        *('AZURE_X', 'OS_DATABASE__CONNECTION', 'http_proxy', 'HTTPS_PROXY', 'No_Proxy'),
    ],
)
def test_what_would_change_how_scripts_run_is_refused(name):
    refused({name: 'secret'}, f'{name} would change how scripts run')


@pytest.mark.parametrize(
    'name',
    [
        'path',
        'MYPATH',
        'PATHS',
        'aws_region',
        'OSX',
        'proxy',
        'name',
        'command',
        'env',
        'lang',
        'LC',
        'tmpdir',
        'MAKE',
    ],
)
def test_names_that_only_look_like_it_are_fine(name):
    parameters.check({name: 'x'})


def test_a_credential_is_no_parameter():
    refused({'ipmi_password': 'secret'}, 'ipmi_password is a credential')


@pytest.mark.parametrize(
    ('value', 'why'),
    [
        (None, 'has no value'),
        (float('nan'), 'is no number'),
        (float('inf'), 'is no number'),
        ('a\0secret', 'NUL'),
        (['a', {'b': 'c\0'}], 'NUL'),
        ({'a\0': 1}, 'NUL'),
        ('\ud800', 'no text'),
        ({5: 'a'}, 'a key that is no text'),
        (datetime.date(2026, 1, 1), 'a date wants quotes'),
        ([b'secret'], 'must be text'),
    ],
)
def test_what_a_script_cannot_be_given_is_refused(value, why):
    refused({'x': value}, why)


def test_a_number_of_thousands_of_digits_is_refused():
    refused({'x': 10**5000}, 'too long')


def test_what_is_nested_without_end_is_refused():
    value = []
    value.append(value)
    refused({'x': value}, 'nested too deeply')


def test_what_holds_the_same_again_and_again_is_refused_at_once():
    value = ['x']
    for _ in range(10):
        value = [value] * 10
    refused({'x': value}, 'longer than')


@pytest.mark.parametrize('held', ['x' * 60000, '', None, 2**9000, True, {'x' * 60000: 1}])
def test_long_things_that_stand_there_many_times_are_never_written_out(held, monkeypatch):
    monkeypatch.setattr(parameters.json, 'dumps', lambda *_args, **_options: pytest.fail('made'))
    refused({'x': [[held] * 300] * 300}, 'longer than 65536 bytes')


def test_sizes_are_bounded_as_a_script_is_given_them():
    parameters.check({'x': 'é' * 32768})
    refused({'x': 'é' * 32768 + 'a'}, r'parameters\.x is longer than 65536 bytes')
    refused({'x': ['é' * 32768]}, r'parameters\.x is longer than 65536 bytes')
    parameters.check({f'x{n}': 'a' * 65534 for n in range(4)})
    refused({f'x{n}': 'a' * 65535 for n in range(4)}, 'longer than 262144 bytes in all')
    refused({f'x{n}': 'a' for n in range(1001)}, 'at most 1000')


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.dates(),
    lambda child: st.lists(child) | st.dictionaries(st.text() | st.integers(), child),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=5) | st.sampled_from(['a', 'PATH', 'b']), _VALUES))
def test_anything_is_taken_or_refused(given):
    try:
        parameters.check(given)
    except errors.InvalidInput as error:
        assert len(error.reason) < 1000
