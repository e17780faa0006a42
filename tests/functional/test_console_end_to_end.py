"""obmd in one process over ipmi_sim: consoles, their viewers, their history and their end."""

import contextlib
import os
import re
import socket
import threading
import time

import pytest

from tests.functional.deployment import AllInOne
from tests.functional.deployment import wait_until
from tests.functional.farm import Farm
from tests.functional.other_client import SolClient
from tests.functional.other_client import ipmitool
from tests.functional.other_client import sol_is_active
from tests.functional.test_obmd_door import check_error

pytestmark = pytest.mark.needs('ipmi_sim', 'ipmitool')

LINE = re.compile(rb'line (\d+) t=([0-9.]+)\r\n')


@pytest.fixture(scope='module')
def farm():
    with Farm(4, rate=10, power_on=True, boot_delay=0.05) as farm:
        yield farm


@pytest.fixture(scope='module')
def obmd(farm):
    with AllInOne() as deployment:
        for bmc in farm.bmcs:
            deployment.register_bmc(bmc)
        yield deployment


@pytest.fixture
def bmc(farm, obmd):
    """A BMC that nobody watches."""
    bmc = farm.bmcs[0]
    wait_until(lambda: not sol_is_active(bmc), what='the end of the console of the test before')
    return bmc


@pytest.fixture
def node(obmd, bmc):
    return obmd.node(bmc['name'])


def numbers(data):
    """:returns: list of int, of the whole lines in ``data``."""
    return [int(number) for number, _ in LINE.findall(data)]


def assert_complete(data):
    """No line is missing, none comes twice."""
    found = numbers(data)
    assert found == list(range(found[0], found[0] + len(found)))


# -- what a viewer sees -----------------------------------------------------------------------


def test_a_viewer_sees_each_line_once_and_soon(node):
    with node.console() as viewer:
        assert viewer.headers['Content-Type'] == 'application/octet-stream'
        late = []
        position = viewer.wait_for(b'\r\n')
        for _ in range(15):
            position = viewer.wait_for(b'\r\n', after=position)
            late += [time.time() - float(t) for _, t in LINE.findall(viewer.data)[-1:]]
        assert_complete(viewer.data)
        print(f'median from BMC to viewer {sorted(late)[len(late) // 2] * 1000:.0f} ms')


def test_a_viewer_who_comes_back_with_its_cursor_misses_nothing(node):
    with node.console() as reference:
        reference.wait_for(b'line')
        with node.console() as first:
            first.wait_for(b'\r\n')
            ring, _, offset = first.headers['Obmd-Cursor'].rpartition(':')
        time.sleep(0.5)
        cursor = f'{ring}:{int(offset) + len(first.data)}'
        with node.console(cursor=cursor) as second:
            assert second.headers['Obmd-Cursor'] == cursor
            assert 'Obmd-Gap' not in second.headers
            second.wait_for(b'\r\n', after=100)
            together = first.data + second.data
        assert together[:-5] in reference.data
        assert_complete(together)


@pytest.mark.parametrize('cursor', ['0123456789abcdef:5', 'other:0', '{ring}:999999999'])
def test_a_cursor_of_something_else_starts_at_the_oldest_byte_and_says_so(node, cursor):
    with node.console() as reference:
        reference.wait_for(b'\r\n')
        ring, _, _ = reference.headers['Obmd-Cursor'].rpartition(':')
        with node.console(cursor=cursor.format(ring=ring)) as viewer:
            assert viewer.headers['Obmd-Gap'] == 'unknown'
            assert viewer.headers['Obmd-Cursor'].startswith(f'{ring}:')
            viewer.wait_for(reference.data[:20])


def test_replay_gives_so_many_bytes_of_history_and_goes_on(node):
    with node.console() as reference:
        reference.wait_for(b'\r\n', after=400)
        with node.console(replay=100) as viewer, node.console(replay=10**9) as all_of_it:
            viewer.wait_for(b'\r\n', after=200)
            assert viewer.data[:60] in reference.data
            assert viewer.data[:60] not in reference.data[-60:]
            all_of_it.wait_for(reference.data[:200])
            time.sleep(0.3)
            assert viewer.data[:-5] in reference.data + viewer.data[-200:]
            assert_complete(viewer.data)


def test_history_of_a_former_token_is_out_of_reach(obmd, node):
    with node.console() as viewer:
        viewer.wait_for(b'\r\n', after=300)
        seen = numbers(viewer.data)
        ring = viewer.headers['Obmd-Cursor'].rpartition(':')[0]
        after = obmd.node(node.name)
        viewer.wait_for_end()
    for parameters in ({'replay': 10**6}, {'cursor': f'{ring}:0'}):
        with after.console(**parameters) as viewer:
            viewer.wait_for(b'\r\n', after=100)
            assert min(numbers(viewer.data)) > max(seen)


# -- who holds it -----------------------------------------------------------------------------


def test_a_console_held_by_someone_else_is_409_until_taken_over(bmc, node):
    with SolClient(bmc) as other:
        other.wait_active()
        error = check_error(node.call('GET', 'console'), 409, 'console_held', node=node.name)
        assert '127.0.0.1' in error['reason'] or bmc['address'] in error['reason']
        assert sol_is_active(bmc)
        with node.console(takeover='true') as viewer:
            assert viewer.status == 200
            viewer.wait_for(b'line')
            told = len(other.text)
            viewer.wait_for(b'line', after=len(viewer.data))
            assert len(other.text) == told


def test_a_console_taken_away_comes_back_when_the_other_leaves(bmc, node):
    with node.console() as viewer:
        position = viewer.wait_for(b'line')
        ipmitool(bmc, 'sol', 'deactivate')
        with SolClient(bmc) as other:
            other.wait_active()
            time.sleep(2)
            assert not viewer.ended
            assert b'closed by BMC' not in other.text
        position = max(position, len(viewer.data))
        viewer.wait_for(b'line', after=position)


def test_an_on_demand_console_is_given_back_after_its_last_viewer(bmc, node):
    viewers = [node.console() for _ in range(3)]
    for viewer in viewers:
        viewer.wait_for(b'line')
    assert sol_is_active(bmc)
    for viewer in viewers:
        viewer.close()
    wait_until(lambda: not sol_is_active(bmc), 10, 'the console given back')
    with SolClient(bmc) as other:
        other.wait_active()


def test_sigterm_gives_the_console_back(farm):
    bmc = farm.bmcs[1]
    with AllInOne(config={'console': {'capture': 'always'}}) as obmd:
        obmd.register_bmc(bmc)
        wait_until(lambda: sol_is_active(bmc), what='the console')
        with obmd.node(bmc['name']).console() as viewer:
            viewer.wait_for(b'line')
            assert obmd.stop() == 0
            viewer.wait_for_end()
        assert not sol_is_active(bmc)
        with SolClient(bmc) as other:
            other.wait_active()


def test_after_a_crash_the_next_start_takes_its_console_back(farm):
    """Nobody else has it: the row in the database says that it was ours."""
    bmc = farm.bmcs[1]
    with AllInOne() as obmd:
        obmd.register_bmc(bmc)
        node = obmd.node(bmc['name'])
        with node.console() as viewer:
            viewer.wait_for(b'line')
            obmd.kill()
        assert sol_is_active(bmc)
        obmd.start()
        with node.console() as viewer:
            assert viewer.status == 200, viewer.response.text
            viewer.wait_for(b'line')


def test_capture_always_has_history_before_the_first_viewer(farm):
    bmc = farm.bmcs[2]
    with AllInOne(config={'console': {'capture': 'always'}}) as obmd:
        obmd.register_bmc(bmc)
        node = obmd.node(bmc['name'])
        wait_until(lambda: sol_is_active(bmc), what='the console')
        time.sleep(1)
        with node.console(replay=10**6) as viewer:
            viewer.wait_for(b'line', timeout=1)
            stamps = [float(t) for _, t in LINE.findall(viewer.data)]
            assert min(stamps) < time.time() - 0.5


# -- a BMC that restarts ----------------------------------------------------------------------


def test_a_stream_goes_on_after_a_restart_of_the_bmc(farm, obmd):
    bmc = farm.bmcs[3]
    with obmd.node(bmc['name']).console() as viewer:
        position = viewer.wait_for(b'line')
        farm.kill(bmc)
        time.sleep(2)
        farm.start(bmc)
        position = max(position, len(viewer.data))
        viewer.wait_for(b'line', timeout=40, after=position)  # ipmi_sim's own serial port: 10 s
        assert not viewer.ended


def test_a_console_of_a_silent_bmc_with_history_gives_the_history(farm, obmd):
    bmc = farm.bmcs[3]
    node = obmd.node(bmc['name'])
    with node.console() as viewer:
        viewer.wait_for(b'line', timeout=40)
        ring, _, offset = viewer.headers['Obmd-Cursor'].rpartition(':')
        farm.stop(bmc)
        wait_until(lambda: 'console down' in obmd.log().rpartition('console up')[2], 20, 'the loss')
        try:
            with node.console(replay=200) as late:
                assert late.status == 200
                late.wait_for(viewer.data[-40:])
        finally:
            farm.resume(bmc)
        position = len(viewer.data)
        viewer.wait_for(b'line', timeout=40, after=position)


# -- viewers that misbehave -------------------------------------------------------------------


@contextlib.contextmanager
def deaf_viewer(obmd, node):
    """A connection that asks for the console and reads the headers only."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect(('127.0.0.1', obmd.port))
        path = f'/node/{node.name}/console?token={node.token}'
        connection.sendall(f'GET {path} HTTP/1.1\r\nHost: x\r\n\r\n'.encode())
        assert connection.recv(12) == b'HTTP/1.1 200'
        yield connection


def test_viewers_that_hardly_read_delay_nobody(obmd):
    obmd.register('busy', 'mock', {})
    node = obmd.node('busy')
    slow = []

    def read_slowly(connection):
        with contextlib.suppress(OSError):
            while connection.recv(1):
                slow.append(1)
                time.sleep(0.01)

    with contextlib.ExitStack() as stack:
        for number in range(20):
            connection = stack.enter_context(deaf_viewer(obmd, node))
            if number % 2:
                threading.Thread(target=read_slowly, args=(connection,), daemon=True).start()
        with node.console() as viewer:
            first = int(viewer.data.split(b'\n')[0]) if viewer.wait_for(b'\n') else 0
            started = time.monotonic()
            viewer.wait_for(b'\n%d\n' % (first + 200))
            print(f'200 lines in {time.monotonic() - started:.1f} s beside 20 slow viewers')
            assert time.monotonic() - started < 10
            found = [int(number) for number in viewer.data.split(b'\n')[:-1]]
            assert found == list(range(found[0], found[0] + len(found)))
        assert slow
        assert obmd.exact('DELETE', '/node/busy').status == 200


def test_a_viewer_that_goes_is_forgotten_within_a_second(obmd, bmc, node):
    """Also on a console that says nothing: the process closes its end of the connection."""
    with power_off(node):
        with node.console() as stays, deaf_viewer(obmd, node) as leaves:
            port = leaves.getsockname()[1]
            assert connections_from(obmd.pid, port) == 1
            leaves.shutdown(socket.SHUT_RDWR)
            started = time.monotonic()
            wait_until(lambda: not connections_from(obmd.pid, port), 5, 'the end of its connection')
            print(f'noticed after {(time.monotonic() - started) * 1000:.0f} ms')
            assert time.monotonic() - started < 1.5
            assert not stays.ended
    wait_until(lambda: not sol_is_active(bmc), 10, 'the console given back')


@contextlib.contextmanager
def power_off(node):
    """The node is off, and says nothing, as long as this lasts."""
    assert node.post('power_off').status_code == 200
    yield
    assert node.post('power_on').status_code == 200


def connections_from(pid, port):
    """:returns: int, open TCP sockets of the process whose other end is ``port`` here."""
    held = set()
    for name in os.listdir(f'/proc/{pid}/fd'):
        with contextlib.suppress(OSError):
            held.add(os.readlink(f'/proc/{pid}/fd/{name}'))
    with open(f'/proc/{pid}/net/tcp') as file:
        rows = [line.split() for line in file.readlines()[1:]]
    ends = [row for row in rows if int(row[2].rpartition(':')[2], 16) == port]
    return sum(f'socket:[{row[9]}]' in held for row in ends)


# -- revocation -------------------------------------------------------------------------------


def rotate(obmd, node):
    obmd.token(node.name)


def take_away(obmd, node):
    assert obmd.exact('DELETE', f'/node/{node.name}/token').status == 200


def delete(obmd, node):
    obmd.unregister(node.name)


@pytest.mark.parametrize('revoke', [rotate, take_away, delete])
def test_a_revoked_token_ends_its_viewers_cleanly_and_at_once(obmd, bmc, revoke):
    name = obmd.register_bmc(bmc, 'revoked')
    node = obmd.node(name)
    viewers = [node.console() for _ in range(10)]
    for viewer in viewers:
        viewer.wait_for(b'line')
    told = time.monotonic()
    revoke(obmd, node)
    ends = [viewer.wait_for_end() - told for viewer in viewers]
    print(f'{revoke.__name__}: 10 viewers ended within {max(ends) * 1000:.0f} ms')
    assert max(ends) < 2
    assert node.call('GET', 'console').status_code == 401
    obmd.unregister(name)


def test_a_revocation_ends_viewers_that_do_not_read(obmd):
    obmd.register('revoked', 'mock', {})
    node = obmd.node('revoked')
    with deaf_viewer(obmd, node) as connection:
        port = connection.getsockname()[1]
        time.sleep(1)
        obmd.unregister('revoked')
        wait_until(lambda: not connections_from(obmd.pid, port), 15, 'the end of its connection')
