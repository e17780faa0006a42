"""API and conductors as separate processes, over a real RabbitMQ and PostgreSQL."""

import os
import re
import subprocess
import sys
import time

import pytest
import requests

from tests.functional.deployment import START_TIMEOUT
from tests.functional.deployment import Deployment
from tests.functional.deployment import Process
from tests.functional.deployment import environment
from tests.functional.deployment import family
from tests.functional.deployment import wait_until
from tests.functional.farm import Farm
from tests.functional.other_client import sol_is_active
from tests.functional.services import free_port
from tests.functional.test_console_end_to_end import LINE
from tests.functional.test_obmd_door import check_error
from tests.functional.viewer import Viewer

pytestmark = pytest.mark.needs('ipmi_sim', 'ipmitool', 'initdb')

PASSWORD = 'hunter2-secret'
DEADLINE = 2.5
SLACK = 2.0


@pytest.fixture(scope='module')
def farm():
    with Farm(6, rate=5, power_on=True, boot_delay=0.05, password=PASSWORD) as farm:
        yield farm


@pytest.fixture(scope='module', autouse=True)
def nodes(split, farm):
    for bmc in farm.bmcs:
        split.register_bmc(bmc)
    for number in range(10):
        split.register(f'mock{number}', 'mock', {})
    split.wait_for()
    yield
    for name in [*(bmc['name'] for bmc in farm.bmcs), *(f'mock{n}' for n in range(10))]:
        split.unregister(name)


def some_node(split, farm, number):
    """:returns: (BMC, Node, the conductor that owns it, the other one)."""
    bmc = farm.bmcs[number]
    split.wait_until_settled()
    owner = split.owner(bmc['name'])
    (other,) = (conductor for conductor in split.conductors if conductor is not owner)
    return bmc, split.node(bmc['name']), owner, other


def forget_token(split, node):
    """What the API commits when a token is taken away, without what it then tells."""
    split.query(f"UPDATE nodes SET token_hash = NULL, token_id = NULL WHERE name = '{node.name}'")


# -- ordinary work ----------------------------------------------------------------------------


def test_nodes_are_spread_over_the_conductors(split):
    owners = split.query('SELECT count(*) FROM nodes GROUP BY owner').split()
    assert sum(map(int, owners)) == 16
    assert len(owners) == 2


def test_every_worker_reaches_every_node(split, farm):
    nodes = [split.node(bmc['name']) for bmc in farm.bmcs]
    for _ in range(8):
        assert [node.power() for node in nodes] == ['on'] * len(nodes)
    workers = family(split.api.pid)[1:]
    assert len(workers) == 2
    lines = [line for line in split.api.log().splitlines() if '/power_status' in line]
    for worker in workers:
        assert any(f' {worker} ' in line for line in lines), f'{worker} answered nothing'


def test_a_node_registered_a_moment_ago_is_served(split):
    for number in range(6):
        name = split.register(f'fresh{number}', 'mock', {})
        assert split.node(name).power() == 'Mock Status'
        split.unregister(name)


def test_a_sweep_merges_the_streams_of_all_conductors(split, farm):
    bmc = farm.bmcs[0]
    split.node(bmc['name']).power()
    farm.stop(bmc)
    try:
        lines = split.sweep('node[0001-0006],mock[0-9],nosuch[1-3]', deadline=DEADLINE)
    finally:
        farm.resume(bmc)
    by_name = {line['node']: (seconds, line) for seconds, line in lines}
    assert len(lines) == len(by_name) == 19
    silent = by_name.pop(bmc['name'])
    assert silent[1]['error']['kind'] == 'bmc_silent'
    assert PASSWORD not in str(lines)
    for name, (seconds, line) in by_name.items():
        if name.startswith('nosuch'):
            assert line['error']['kind'] == 'not_found'
        else:
            assert line['power_status'] in ('on', 'Mock Status')
            assert seconds < 1 + SLACK / 2
    print(f'good ones within {max(s for s, _ in by_name.values()):.2f} s, all {silent[0]:.2f} s')
    assert silent[0] < DEADLINE + 0.5 + SLACK / 2


def test_a_silent_bmc_is_504_over_the_bus(split, farm):
    bmc = farm.bmcs[1]
    node = split.node(bmc['name'])
    node.power()
    farm.stop(bmc)
    try:
        started = time.monotonic()
        answer = node.call('GET', 'console', allow_redirects=False)
        error = check_error(answer, 504, 'bmc_silent', node=bmc['name'])
        assert bmc['address'] in error['reason']
        assert time.monotonic() - started < DEADLINE + SLACK
    finally:
        farm.resume(bmc)


def test_a_console_is_a_redirect_with_a_ticket_that_is_good_once(split, farm):
    node = split.node(farm.bmcs[2]['name'])
    answer = node.call('GET', 'console', allow_redirects=False)
    assert (answer.status_code, answer.content) == (307, b'')
    assert answer.headers['Cache-Control'] == 'no-store'
    assert answer.headers['Referrer-Policy'] == 'no-referrer'
    location = answer.headers['Location']
    assert re.fullmatch(r'http://127\.0\.0\.1:\d+/stream/[0-9A-Za-z_-]{20,}', location)
    assert node.token not in location
    with Viewer(requests.get(location, stream=True, timeout=30)) as viewer:
        assert viewer.headers['Content-Type'] == 'application/octet-stream'
        assert viewer.headers['Cache-Control'] == 'no-store'
        assert viewer.headers['Obmd-Cursor']
        viewer.wait_for(b'line')
        again = requests.get(location, timeout=30)
        assert (again.status_code, again.json()['error']['kind']) == (404, 'not_found')
    assert location.rpartition('/')[2] not in split.logs()
    for path in ('/', '/stream/', '/stream/x', '/node/mock0'):
        url = location.partition('/stream/')[0] + path
        assert requests.get(url, timeout=30).status_code == 404
        assert requests.post(url, timeout=30).status_code in (404, 405)


def test_a_ticket_dies_with_its_token(split, farm):
    node = split.node(farm.bmcs[2]['name'])
    location = node.call('GET', 'console', allow_redirects=False).headers['Location']
    split.token(node.name)
    assert requests.get(location, timeout=30).status_code in (401, 404)


def test_a_write_is_never_a_redirect(split, farm):
    node = split.node(farm.bmcs[2]['name'])
    for method, operation in (('POST', 'power_on'), ('POST', 'power_cycle')):
        answer = node.call(method, operation, json={'force': True}, allow_redirects=False)
        assert (answer.status_code, answer.content) == (200, b'')


def test_a_revocation_reaches_the_viewers_of_all_conductors(split, farm):
    nodes = [split.node(bmc['name']) for bmc in farm.bmcs[:4]]
    viewers = [node.console() for node in nodes]
    for viewer in viewers:
        viewer.wait_for(b'line')
    for node, viewer in zip(nodes, viewers, strict=True):
        told = time.monotonic()
        assert split.exact('DELETE', f'/node/{node.name}/token').status == 200
        took = viewer.wait_for_end() - told
        print(f'{node.name}: its viewer ended after {took * 1000:.0f} ms')
        assert took < 2


# -- secrets ----------------------------------------------------------------------------------


def test_passwords_and_tokens_are_nowhere_in_clear(split, farm, postgresql):
    node = split.node(farm.bmcs[0]['name'])
    assert node.power() == 'on'
    dump = postgresql.dump(split.database)
    assert farm.bmcs[0]['address'] in dump
    seen = {'the database': dump, 'the logs': split.logs()}
    for process in split.processes:
        for pid in family(process.pid):
            for name in ('cmdline', 'environ'):
                with open(f'/proc/{pid}/{name}', errors='replace') as file:
                    seen[f'{name} of {pid}'] = file.read()
    for folder, _, files in os.walk(split.folder):
        for name in files:
            if name not in ('admin-token', 'obmd.conf') and not name.endswith('.log'):
                with open(os.path.join(folder, name), errors='replace') as file:
                    seen[os.path.join(folder, name)] = file.read()
    for secret in (PASSWORD, node.token, split.admin_token):
        for where, text in seen.items():
            assert secret not in text, f'in {where}'


def test_the_api_host_has_no_private_key(split):
    with open(os.path.join(split.secret, 'conductor.key')) as file:
        private = file.read().split()[1]
    for folder, _, files in os.walk(os.path.join(split.folder, 'api')):
        for name in files:
            with open(os.path.join(folder, name)) as file:
                assert private not in file.read()
    script = (
        'from obmd.conf import CONF\n'
        'from obmd.common import errors, secrets\n'
        'from obmd.db import engine, nodes\n'
        'import sys\n'
        'CONF(sys.argv[1:], project="obmd", default_config_files=[])\n'
        'engine.setup()\n'
        'node = nodes.get("node0001")\n'
        'assert "hunter2" not in repr(node)\n'
        'try:\n'
        '    secrets.open_info(secrets.Keyring.load(secrets.key_paths()[0]), node)\n'
        'except errors.ObmdError as error:\n'
        '    print(type(error).__name__)\n'
    )
    command = [sys.executable, '-c', script, '--config-file']
    for config, told in ((split.api_config, 'Fatal\n'), (split.config_of('c1'), '')):
        done = subprocess.run([*command, config], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (0, told), done.stderr


def test_a_row_that_was_swapped_is_not_served(split, farm):
    """Who may write to the database cannot send one BMC's password to another's address."""
    one, other = (split.register_bmc(bmc, f'swap{n}') for n, bmc in enumerate(farm.bmcs[:2]))
    split.query(
        'UPDATE nodes SET owner = NULL, sealed_info = '
        f"(SELECT sealed_info FROM nodes WHERE name = '{other}') WHERE name = '{one}'"
    )
    # the owner has opened it before: only who opens it anew can notice
    for conductor in split.conductors:
        conductor.stop()
        conductor.start()
    split.wait_until_ready()
    wait_until(lambda: split.node(other).call('GET', 'power_status').status_code == 200, what=other)
    assert split.node(one).call('GET', 'power_status').status_code >= 500
    for name in (one, other):
        split.unregister(name)
    split.wait_for()


# -- conductors that come and go --------------------------------------------------------------


def test_a_conductor_that_is_stopped_gives_everything_back(split, farm):
    bmc, node, stopped, other = some_node(split, farm, 0)
    with node.console() as viewer:
        viewer.wait_for(b'line')
        started = time.monotonic()
        assert stopped.stop() == 0
        print(f'gone after {time.monotonic() - started:.1f} s')
        viewer.wait_for_end()
    assert not sol_is_active(bmc)
    split.wait_for(conductors=1)
    assert split.owner(bmc['name']) is other
    assert node.power() == 'on'
    with node.console() as viewer:
        viewer.wait_for(b'line')
    stopped.start()
    split.wait_for(conductors=2)


def wait_for_answer(node):
    """Ask until the node is served.  :returns: (seconds, set of the refusals meanwhile)."""
    started, refusals = time.monotonic(), set()

    def answers():
        answer = node.call('GET', 'power_status')
        if answer.status_code != 200:
            refusals.add(answer.status_code)
        return answer.status_code == 200

    wait_until(answers, 30, 'an answer')
    return time.monotonic() - started, refusals


def watch_a_line(node):
    """As a viewer who comes again when a hand-over has sent him on."""
    end = time.monotonic() + 30
    while True:
        with node.console() as viewer:
            assert viewer.status == 200, viewer.response.text
            try:
                return viewer.wait_for(b'line')
            except AssertionError:
                if not viewer.ended or time.monotonic() > end:
                    raise


def test_a_conductor_that_is_killed_serves_again_as_soon_as_it_is_started(split, farm):
    _, node, conductor, _ = some_node(split, farm, 0)
    with node.console() as viewer:
        viewer.wait_for(b'line')
        conductor.kill()
        wait_until(lambda: viewer.ended, what='the end of the stream')
    conductor.start()
    seconds, refusals = wait_for_answer(node)
    print(f'serving {seconds:.1f} s after the start, meanwhile {refusals or "nothing"}')
    assert refusals <= {503, 504}
    watch_a_line(node)
    split.wait_for()


def test_nodes_of_a_conductor_that_stays_dead_are_taken_over(split, farm):
    bmc, node, dead, other = some_node(split, farm, 0)
    with node.console() as viewer:
        viewer.wait_for(b'line')
        dead.kill()
    seconds, refusals = wait_for_answer(node)
    print(f'taken over after {seconds:.1f} s, meanwhile {refusals}')
    assert refusals <= {503, 504}
    assert split.owner(bmc['name']) is other
    with node.console() as viewer:
        assert viewer.status == 200, viewer.response.text
        viewer.wait_for(b'line')
    dead.start()
    split.wait_for(conductors=2)


def test_without_a_conductor_everybody_is_told_to_come_back(split):
    node = split.node('mock0')
    for conductor in split.conductors:
        conductor.stop()
    wait_until(lambda: split.call('GET', '/readyz').status_code == 503, what='not ready')
    for answer in (node.call('GET', 'power_status'), node.call('GET', 'console')):
        check_error(answer, 503, 'unavailable', node='mock0')
        assert int(answer.headers['Retry-After']) >= 1
    assert split.call('GET', '/healthz').status_code == 200
    assert split.exact('DELETE', '/node/mock0/token').status == 200
    (_, line), *_ = split.sweep('mock0')
    assert line['error']['kind'] == 'unavailable'
    for conductor in split.conductors:
        conductor.start()
    split.wait_for(conductors=2)
    split.wait_until_ready()


# -- revocations that nobody hears of ---------------------------------------------------------


def test_a_revocation_whose_message_was_lost_ends_streams_within_the_interval(split, farm):
    node = split.node(farm.bmcs[3]['name'])
    with node.console() as viewer:
        viewer.wait_for(b'line')
        forget_token(split, node)
        told = time.monotonic()
        print(f'ended after {viewer.wait_for_end() - told:.2f} s, interval 1 s')
        assert viewer.ended_at - told < 1 + SLACK


def test_a_conductor_that_was_frozen_sends_no_byte_that_a_revocation_forbids(split, farm):
    _, node, conductor, _ = some_node(split, farm, 3)
    with node.console() as viewer:
        viewer.wait_for(b'line')
        conductor.pause()
        try:
            forget_token(split, node)
            revoked = time.time()
            time.sleep(1.2)
        finally:
            conductor.resume()
        viewer.wait_for_end()
        assert max(float(t) for _, t in LINE.findall(viewer.data)) <= revoked
    split.wait_for()


# -- another WSGI server ----------------------------------------------------------------------

SERVERS = {
    'wsgiref': 'from wsgiref.simple_server import make_server as make\n'
    'make("127.0.0.1", {port}, application).serve_forever()\n',
    'waitress': 'import waitress\n'
    'waitress.serve(application, listen="127.0.0.1:{port}", threads=8)\n',
}


class OtherServer(Deployment):
    """``obmd.api.wsgi:application`` in a process that is not patched."""

    def __init__(self, split, server):
        super().__init__()
        port = free_port()
        self.url = f'http://127.0.0.1:{port}'
        self.admin_token = split.admin_token
        home = os.path.join(self.folder, 'home')
        os.makedirs(os.path.join(home, '.obmd'))
        with open(split.api_config) as source:
            with open(os.path.join(home, '.obmd', 'obmd.conf'), 'w') as target:
                target.write(source.read())
        script = 'from obmd.api.wsgi import application\n' + SERVERS[server].format(port=port)
        command = [sys.executable, '-W', 'ignore', '-c', script]
        self._process = Process(command, self.folder, server, environment(HOME=home))

    def __enter__(self):
        self._process.start()
        wait_until(self._answers, START_TIMEOUT, 'the start of the server')
        return self

    def __exit__(self, *unused):
        self._process.kill()
        self._clean()

    def _answers(self):
        assert self._process.returncode is None, self._process.log()
        try:
            return self.call('GET', '/readyz').status_code == 200
        except requests.ConnectionError:
            return False


@pytest.mark.parametrize('server', SERVERS)
def test_another_wsgi_server_serves_the_same_api(split, farm, server):
    with OtherServer(split, server) as other:
        name = other.register('elsewhere', 'dummy', {'addr': '127.0.0.1:1'})
        node = other.node(name)
        assert node.power() == 'off'
        assert node.post('power_on').status_code == 200
        assert split.node(name).power() == 'on'
        node = other.node(farm.bmcs[4]['name'])
        with node.console() as viewer:
            viewer.wait_for(b'line')
            other.token(node.name)
            viewer.wait_for_end()
        check_error(other.call('GET', '/node/x/power_status'), 401, 'unauthorized')
        assert {line['power_status'] for _, line in other.sweep('node[0001-0006]')} == {'on'}
        other.unregister(name)
