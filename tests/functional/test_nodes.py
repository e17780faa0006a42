"""Nodes over real BMCs: registered, changed in place and imported while obmd serves them."""

import os
import subprocess

import pytest

from tests.functional.deployment import BIN
from tests.functional.deployment import AllInOne
from tests.functional.deployment import environment
from tests.functional.deployment import wait_until
from tests.functional.farm import Farm
from tests.functional.test_obmd_door import check_error

pytestmark = pytest.mark.needs('ipmi_sim')

NODES = '/api/v1/nodes'


@pytest.fixture(scope='module')
def farm():
    with Farm(2, rate=5, power_on=True) as farm:
        yield farm


@pytest.fixture(scope='module')
def obmd(farm):
    with AllInOne() as deployment:
        yield deployment


@pytest.fixture(autouse=True)
def no_nodes(obmd):
    yield
    for node in obmd.as_admin('GET', NODES).json()['nodes']:
        answer = obmd.as_admin('DELETE', f'{NODES}/{node["name"]}', json={})
        assert answer.status_code == 204, answer.text


def account(bmc, password=None):
    info = {
        'addr': bmc['address'],
        'port': bmc['port'],
        'user': bmc['user'],
        'password': password or bmc['password'],
    }
    return {'type': 'ipmi', 'info': info}


@pytest.fixture
def post(obmd):
    def post(name='n1', **body):
        answer = obmd.as_admin('POST', NODES, json={'name': name, **body})
        assert answer.status_code == 201, answer.text
        return answer.json()

    return post


@pytest.fixture
def patch(obmd):
    def patch(name='n1', **body):
        answer = obmd.as_admin('PATCH', f'{NODES}/{name}', json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return patch


@pytest.fixture
def power(obmd):
    """``power('off')`` turns n1 off; ``power()`` asks.  :returns: requests.Response."""

    def power(action=None):
        path = f'{NODES}/n1/power'
        if action is None:
            return obmd.as_admin('GET', path)
        return obmd.as_admin('PUT', path, json={'action': action})

    return power


@pytest.fixture
def manage(obmd):
    def manage(*arguments, text=''):
        done = subprocess.run(
            [os.path.join(BIN, 'obmd-manage'), '--config-file', obmd.config, *arguments],
            env=environment(OBMD_STATE_DIR=obmd.state),
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return manage


def test_a_wrong_password_is_corrected_in_place(farm, post, patch, power):
    made = post(obm=account(farm.bmcs[0], 'wrong'), ranks=['metal'])
    check_error(power(), 502, 'credentials_refused')
    assert patch()['credentials_refused']
    shown = patch(obm=account(farm.bmcs[0]))
    assert not shown['credentials_refused']
    assert power('off').status_code == 200
    assert farm.read(farm.bmcs[0], 'power') == '0'
    now = patch()
    assert (now['uuid'], now['ranks']) == (made['uuid'], ['metal'])


def test_the_same_account_again_disturbs_no_console(farm, obmd, post, patch, power):
    post(obm=account(farm.bmcs[0]))
    power('on')
    with obmd.node('n1').console() as viewer:
        viewer.wait_for(b'line')
        for _ in range(3):
            patch(obm=account(farm.bmcs[0]))
            assert power().json()['power_status'] == 'on'
        viewer.wait_for(b'line', after=viewer.wait_for(b'line'))


def test_another_bmc_is_the_one_that_is_told_from_then_on(farm, obmd, post, patch, power):
    first, second = farm.bmcs
    post(obm=account(first))
    power('on')
    patch(obm=account(second))
    power('on')
    token = obmd.token('n1')
    assert power('off').status_code == 200
    assert (farm.read(first, 'power'), farm.read(second, 'power')) == ('1', '0')
    power('on')
    with obmd.node('n1', token).console() as viewer:
        viewer.wait_for(b'line')


def test_a_node_without_a_bmc_is_owned_and_can_do_nothing(obmd, post, power):
    post(ranks='login', parameters={'ip': '10.1.0.1'})
    check_error(power(), 400, 'unsupported')
    check_error(power('on'), 400, 'unsupported')
    wait_until(lambda: obmd.as_admin('GET', f'{NODES}/n1').json()['conductor'], what='an owner')


def test_nodes_are_imported_while_obmd_runs(farm, obmd, manage, power):
    bmc = farm.bmcs[0]

    def load(password):
        return manage(
            'import-nodes',
            '-',
            text=f"""
n1: {{ranks: [metal], ip: 10.1.0.1, ipmi_username: {bmc['user']}, ipmi_password: {password},
      ipmi_host: {bmc['address']}, ipmi_port: {bmc['port']}}}
""",
        )

    assert 'n1: created' in load('wrong')
    shown = obmd.as_admin('GET', f'{NODES}/n1').json()
    assert (shown['ranks'], shown['parameters']) == (['metal'], {'ip': '10.1.0.1'})
    check_error(power(), 502, 'credentials_refused')
    # nobody tells the conductor of an import: it finds out by itself
    assert 'n1: changed: credentials' in load(bmc['password'])
    assert power('off').status_code == 200
    assert farm.read(bmc, 'power') == '0'
    assert '0 created, 0 changed, 1 unchanged' in load(bmc['password'])


def test_groups_and_ranks_name_nodes_of_a_sweep(farm, obmd, post, manage):
    for number, bmc in enumerate(farm.bmcs):
        post(f'n{number}', obm=account(bmc), ranks=['metal'])
    manage('group', 'set', 'first', 'n0')
    assert {told['node'] for _, told in obmd.sweep('@metal')} == {'n0', 'n1'}
    assert [told['node'] for _, told in obmd.sweep('@metal!@first')] == ['n1']
