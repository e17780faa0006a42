"""Consoles across owners and the logs that they leave: conductors stopped, killed, and on a disk
that stalls."""

import contextlib
import re
import time

import pytest

from obmd.streams import segments
from tests.functional import console_logs
from tests.functional.deployment import Split
from tests.functional.deployment import wait_until
from tests.functional.farm import Farm
from tests.functional.test_console_end_to_end import assert_complete
from tests.functional.test_obmd_door import check_error

pytestmark = pytest.mark.needs('ipmi_sim', 'initdb')

LINE = re.compile(rb'node\d{4} line (\d+) t=([0-9.]+)\r\n')
#: seconds that the disk stands still, far longer than the queue set here takes to fill
STALL = 8.0
#: seconds: what a log may lack after kill -9, and how late a busy machine may be
FLUSH, SLACK = 1.0, 1.5
QUEUE = 4096


@pytest.fixture(scope='module')
def farm():
    with Farm(4, rate=20, power_on=True, boot_delay=0.05) as farm:
        yield farm


@pytest.fixture(scope='module')
def log_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp('consoles') / 'logs')


@pytest.fixture(scope='module')
def cluster(rabbitmq, postgresql, farm, log_dir):
    console = {'capture': 'always', 'log_dir': log_dir, 'log_queue_size': QUEUE}
    with Split(rabbitmq, postgresql, proxy=True, config={'console': console}) as split:
        for bmc in farm.bmcs:
            split.register_bmc(bmc)
        split.wait_until_settled()
        yield split


def folder_of(cluster, log_dir, name):
    uuid = cluster.query(f"SELECT uuid FROM nodes WHERE name = '{name}'")
    return segments.folder_of(log_dir, uuid)


def position(viewer):
    """:returns: (ring, offset of its first byte)."""
    ring, _, offset = viewer.headers['Obmd-Cursor'].partition(':')
    return ring, int(offset)


def cursor_of(viewer):
    """:returns: str, of the next byte that it wants."""
    ring, offset = position(viewer)
    return f'{ring}:{offset + len(viewer.data)}'


def numbers(data):
    return [int(number) for number, _ in LINE.findall(data)]


def reconnect(node, cursor):
    """As a viewer does: ask again until it is there.  :returns: Viewer."""

    def ask():
        viewer = node.console(cursor=cursor)
        if viewer.status == 200:
            return viewer
        assert viewer.status in (503, 504), viewer.response.text
        viewer.close()
        return None

    return wait_until(ask, 30, 'the console at its new owner', 0.2)


def assert_goes_on(before, after):
    """``after`` is a marked new beginning: no byte twice, none out of place."""
    assert after.headers['Obmd-Gap'] == 'unknown'
    assert position(after)[0] != position(before)[0]
    old, new = numbers(before.data), numbers(after.data)
    assert_complete(after.data)
    assert old[-1] < new[0]
    # what is no whole line is the rest of one at either end
    rest = LINE.split(after.data)
    assert all(not piece for piece in rest[3:-1:3]), rest
    assert re.fullmatch(rb'[ -~\r\n]{0,40}', rest[0]), rest[0]


def seen_in_log(written, viewer):
    """Compare.  :returns: bytes of ``viewer`` that the log lacks at its end."""
    _, offset = position(viewer)
    log = console_logs.text(written)
    both = min(len(log) - offset, len(viewer.data))
    assert both > 0
    assert log[offset : offset + both] == viewer.data[:both]
    return viewer.data[both:]


# -- resume -----------------------------------------------------------------------------------


@pytest.mark.parametrize('door', ['redirect', 'proxy'])
def test_a_viewer_comes_back_to_the_same_owner_without_loss(cluster, farm, door):
    deployment = cluster.through_proxy() if door == 'proxy' else cluster
    node = deployment.node(farm.bmcs[0]['name'])
    with node.console() as viewer:
        viewer.wait_for(b'line')
    time.sleep(0.5)
    with node.console(cursor=cursor_of(viewer)) as again:
        assert 'Obmd-Gap' not in again.headers
        assert again.headers['Obmd-Cursor'] == cursor_of(viewer)
        again.wait_for(b't=', after=len(again.data) + 40)
        assert_complete(viewer.data + again.data)


@pytest.mark.parametrize('door', ['redirect', 'proxy'])
def test_a_viewer_cut_by_a_hand_over_comes_back_to_a_marked_gap(cluster, farm, log_dir, door):
    name = farm.bmcs[1]['name']
    node = (cluster.through_proxy() if door == 'proxy' else cluster).node(name)
    owner = cluster.owner(name)
    with node.console() as viewer:
        viewer.wait_for(b'line', after=200)
        owner.stop(timeout=60)
        wait_until(lambda: viewer.ended, 15, 'the end of the stream')
    try:
        with reconnect(node, cursor_of(viewer)) as again:
            again.wait_for(b'line', after=200)
            assert_goes_on(viewer, again)
        rings = console_logs.read(folder_of(cluster, log_dir, name))
        written = rings[position(viewer)[0]]
        assert seen_in_log(written, viewer) == b''
        assert written.entries[-1]['event'] == 'end'
        assert written.gaps == []
        wait_until(
            lambda: position(again)[0] in console_logs.read(folder_of(cluster, log_dir, name)),
            what='the log of the new owner',
        )
    finally:
        owner.start()
        cluster.wait_until_settled()


def test_a_viewer_of_a_conductor_that_was_killed_comes_back_to_a_marked_gap(cluster, farm, log_dir):
    name = farm.bmcs[2]['name']
    node, owner = cluster.node(name), cluster.owner(name)
    with node.console() as viewer:
        viewer.wait_for(b'line', after=400)
        owner.kill()
        wait_until(lambda: viewer.ended, 15, 'the end of the stream')
    try:
        with reconnect(node, cursor_of(viewer)) as again:
            again.wait_for(b'line', after=200)
            assert_goes_on(viewer, again)
            folder = folder_of(cluster, log_dir, name)
            ring = position(again)[0]
            wait_until(lambda: ring in console_logs.read(folder), what='the new log')
        rings = console_logs.read(folder)
        written = rings[position(viewer)[0]]
        missing = seen_in_log(written, viewer)
        print(f'the log lacks the last {len(missing)} bytes')
        times = [float(at) for _, at in LINE.findall(missing)]
        assert not times or times[-1] - times[0] < FLUSH + SLACK
        assert 'end' not in [entry.get('event') for entry in written.entries]
        begin = rings[ring].entries[0]
        assert begin['event'] == 'begin'
        assert begin['owner'] != written.entries[0]['owner']
        assert begin['token'] == node_token_id(cluster, name)
        printed = cluster.manage('console', 'log', name)
        assert f'ring {ring} at 0' in printed
        assert numbers(printed.replace('\n', '\r\n').encode())
    finally:
        owner.start()
        cluster.wait_until_settled()


def node_token_id(cluster, name):
    return cluster.query(f"SELECT token_id FROM nodes WHERE name = '{name}'")


@pytest.mark.parametrize(
    'cursor',
    [
        'x',
        ':1',
        'r:',
        'r:-1',
        'r:+1',
        'r: 1',
        'r:1.5',
        'r:0x10',
        'r:1e3',
        'r:' + '9' * 20,
        'r:\u0661',
        'x' * 65 + ':1',
        'r\n:1',
        'r:1:2',
        '',
    ],
)
def test_what_is_no_cursor_is_refused_saying_so(cluster, farm, cursor):
    node = cluster.node(farm.bmcs[0]['name'])
    error = check_error(node.call('GET', 'console', {'cursor': cursor}), 400, 'invalid_input')
    assert 'cursor' in error['reason']


@pytest.mark.parametrize('cursor', ['0123456789abcdef:7', 'r:0', '{ring}:9999999999999999999'])
def test_a_cursor_of_another_ring_or_of_no_byte_yet_is_a_marked_gap(cluster, farm, cursor):
    node = cluster.node(farm.bmcs[0]['name'])
    with node.console() as viewer:
        ring, _ = position(viewer)
    with node.console(cursor=cursor.format(ring=ring)) as again:
        assert again.status == 200
        assert again.headers['Obmd-Gap'] == 'unknown'
        assert position(again)[0] == ring
        again.wait_for(b'line')


def test_a_token_is_in_the_log_where_its_time_begins(cluster, farm, log_dir):
    name = farm.bmcs[3]['name']
    with cluster.node(name).console() as viewer:
        ring, offset = position(viewer)
        token = node_token_id(cluster, name)
        folder = folder_of(cluster, log_dir, name)

        def told():
            entries = console_logs.read(folder)[ring].entries
            return [e for e in entries if e.get('token') == token]

        (entry, *_) = wait_until(told, what='the token in the log')
        assert entry['event'] == 'token'
        assert entry['offset'] <= offset


# -- a disk that stalls -----------------------------------------------------------------------


def beat(cluster, incarnation):
    found = cluster.query(f"SELECT beat FROM conductors WHERE incarnation = '{incarnation}'")
    return int(found)


def test_a_log_disk_that_stalls_costs_marked_log_lines_and_nothing_else(cluster, farm, log_dir):
    incarnation = cluster.query(
        'SELECT owner FROM nodes GROUP BY owner ORDER BY count(*) DESC LIMIT 1'
    )
    names = cluster.query(f"SELECT name FROM nodes WHERE owner = '{incarnation}'").split()
    nodes = {name: cluster.node(name) for name in names}
    conductor = cluster.owner(names[0])
    folders = {name: folder_of(cluster, log_dir, name) for name in names}
    with contextlib.ExitStack() as viewers:
        seen = {name: viewers.enter_context(node.console()) for name, node in nodes.items()}
        for viewer in seen.values():
            viewer.wait_for(b'line')
        with console_logs.Stall(folders[names[0]], incarnation) as stall:
            began, first_beat = time.monotonic(), beat(cluster, incarnation)
            while time.monotonic() < began + STALL:
                asked = time.monotonic()
                assert {node.power() for node in nodes.values()} == {'on'}
                assert time.monotonic() - asked < 2.5
                time.sleep(0.3)
            assert beat(cluster, incarnation) - first_beat > STALL / 0.5 / 3
            for viewer in seen.values():
                last = float(LINE.findall(viewer.data)[-1][1])
                assert time.time() - last < SLACK
        rings = {name: position(viewer)[0] for name, viewer in seen.items()}

        def gaps(name):
            patched = stall.whole() if name == names[0] else ()
            return console_logs.read(folders[name], patched)[rings[name]].gaps

        wait_until(lambda: all(map(gaps, names)), 15, 'the gaps in the logs')
        marked = {name: len(seen[name].data) for name in names}
        for name, viewer in seen.items():
            viewer.wait_for(b'line', after=marked[name] + 400)
        time.sleep(1.2)
    assert 'console logs miss lines' in conductor.log()
    assert 'console logs are written again' in conductor.log()
    for name, viewer in seen.items():
        assert_complete(viewer.data)
        patched = stall.whole() if name == names[0] else ()
        written = console_logs.read(folders[name], patched)[rings[name]]
        lost = sum(count for _, count in written.gaps)
        print(f'{name}: {lost} bytes of {len(viewer.data)} are missing in the log')
        _, start = position(viewer)
        missing = set()
        for offset, byte in enumerate(viewer.data, start):
            if offset in written.known:
                assert written.known[offset] == byte, offset
            else:
                missing.add(offset)
        told = {o for first, count in written.gaps for o in range(first, first + count)}
        last = max(written.known)
        assert {o for o in missing if o <= last} == told
        assert lost > 0


def test_a_stalled_log_disk_does_not_hold_up_the_end(cluster, farm, log_dir):
    name = farm.bmcs[0]['name']
    cluster.wait_until_settled()
    owner = cluster.owner(name)
    incarnation = cluster.query(f"SELECT owner FROM nodes WHERE name = '{name}'")
    node = cluster.node(name)
    folder = folder_of(cluster, log_dir, name)
    with console_logs.Stall(folder, incarnation) as stall:
        stall.writer_is_there = False
        time.sleep(1)
        asked = time.monotonic()
        assert owner.stop(timeout=45) == 0
        print(f'gone after {time.monotonic() - asked:.1f} s')
        with reconnect(node, 'r:0') as viewer:
            viewer.wait_for(b'line')
    owner.start()
    cluster.wait_until_settled()
