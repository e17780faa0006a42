"""Every fault, as a function of a :class:`~tests.functional.cluster.Cluster`.

Each lets one thing fail, sees that what was promised holds, and leaves three conductors and a
share of the nodes for each.  Times and sizes are the cluster's.
"""

import contextlib
import signal
import time

from tests.functional import console_logs
from tests.functional.cluster import BACK
from tests.functional.cluster import CLAIM
from tests.functional.cluster import SILENCE
from tests.functional.deployment import wait_until
from tests.functional.test_console_end_to_end import assert_complete

#: seconds that a call may take beyond its own deadline before somebody says no
LATE = 6.0


def _others(number):
    return [other for other in (1, 2, 3) if other != number]


def _stay(cluster, seconds):
    """Until so many seconds after the fault."""
    time.sleep(max(0.0, seconds - (time.monotonic() - cluster.began)))


# -- conductors -------------------------------------------------------------------------------


def kill(cluster, number):
    """``kill -9``; then it is started again at the same host."""
    before = cluster.begin()
    mine = cluster.incarnation(number)
    cluster.begin()
    cluster.conductor(number).kill()
    took = cluster.wait_captured(cluster.sizes.ttl + CLAIM + 20, conductors=2)
    cluster.measure('captured again after kill -9', took, cluster.sizes.ttl + CLAIM)
    after = cluster.owners()
    assert all(after[name] == owner for name, owner in before.items() if owner != mine)
    cluster.end_well(conductors=2)
    cluster.begin()
    cluster.conductor(number).start()
    cluster.wait_balanced()
    cluster.end_well()


def kill_and_restart(cluster, number):
    """``kill -9`` and started again at once: it takes its own nodes back."""
    before = cluster.incarnation(number)
    cluster.begin()
    cluster.conductor(number).kill()
    cluster.conductor(number).start()
    wait_until(lambda: cluster.incarnation(number) not in ('', before), 30, 'its new row')
    took = cluster.wait_captured(cluster.sizes.ttl + CLAIM + 20)
    cluster.measure('captured again after a restart', took, cluster.sizes.ttl + CLAIM)
    cluster.wait_balanced()
    # others may have claimed before it was up again
    cluster.end_well(hands=3)


def terminate(cluster, number):
    """SIGTERM: hand-over before it goes; then it is started again and gets its share."""
    with cluster.load() as failed:
        time.sleep(1)
        cluster.begin()
        status = cluster.conductor(number).stop(signal.SIGTERM, timeout=90)
        took = time.monotonic() - cluster.began
        cluster.wait_captured(10, conductors=2)
        time.sleep(1)
    assert status == 0, f'exit status {status}'
    assert failed == []
    cluster.measure('gone after SIGTERM', took)
    cluster.measure('silent at SIGTERM', cluster.watch.silence(cluster.began), SILENCE)
    cluster.end_well(conductors=2)
    join(cluster, number)


def join(cluster, number):
    """A conductor is started and gets its share; nothing else moves."""
    total = len(cluster.names)
    with cluster.load() as failed:
        time.sleep(1)
        before = cluster.begin()
        cluster.conductor(number).start()
        cluster.wait_balanced()
        took = time.monotonic() - cluster.began
        time.sleep(1)
    joined = cluster.incarnation(number)
    moved = {name: owner for name, owner in cluster.owners().items() if owner != before[name]}
    assert failed == []
    assert set(moved.values()) == {joined}
    cluster.measure('balanced after a join', took)
    # decisions of the ring at few nodes: the share of 512 partitions, and three deviations
    cluster.measure('moved at a join', len(moved), total * (1.2 / 3) + 3 * (total / 3) ** 0.5)
    cluster.measure('silent at a join', cluster.watch.silence(cluster.began), SILENCE)
    cluster.end_well()


def freeze(cluster, number):
    """SIGSTOP, and SIGCONT long after others have taken its nodes."""
    conductor = cluster.conductor(number)
    before = cluster.incarnation(number)
    name = cluster.owned_by(number)[0]
    with cluster.nodes[name].console() as viewer:
        viewer.wait_for(b'line')
        cluster.begin()
        conductor.pause()
        try:
            took = cluster.wait_captured(cluster.sizes.ttl + CLAIM + 20, conductors=2)
            _stay(cluster, cluster.sizes.freeze)
        finally:
            resumed = time.monotonic()
            conductor.resume()
        viewer.wait_for_end(cluster.sizes.interval + 10)
        sent_on = viewer.ended_at - resumed
    cluster.measure('captured again while it is stopped', took, cluster.sizes.ttl + CLAIM)
    cluster.measure('its viewer was sent on after SIGCONT', sent_on, cluster.sizes.interval + 2)
    cluster.check_no_fight()
    cluster.wait_balanced()
    assert conductor.returncode is None
    assert cluster.incarnation(number) not in ('', before)
    cluster.measure('its share again after SIGCONT', time.monotonic() - resumed)
    cluster.end_well(hands=3)


# -- the broker and the database --------------------------------------------------------------


def broker_restart(cluster, _number):
    """RabbitMQ is killed and started; a token is deleted while it is down."""
    before = cluster.begin()
    names = cluster.one_of_each()
    name = cluster.another(names)
    with cluster.uninterrupted(names), cluster.resets(), cluster.nodes[name].console() as viewer:
        viewer.wait_for(b'line')
        cluster.begin()
        cluster.rabbitmq.kill()
        try:
            at = cluster.revoke(name)
            viewer.wait_for_end(cluster.sizes.interval + 10)
        finally:
            cluster.rabbitmq.start()
        back = time.monotonic()
        for answering in names:
            cluster.answers(answering)
        took = time.monotonic() - back
    cluster.measure('stream of a deleted token', viewer.ended_at - at, cluster.sizes.interval + 1)
    cluster.measure('calls answer after the broker is back', took, BACK)
    cluster.check_rings(names)
    assert cluster.owners() == before
    cluster.end_well(hands=1)


def database_restart(cluster, _number):
    """PostgreSQL is down for some seconds."""
    before = cluster.begin()
    names = cluster.one_of_each()
    committed = cluster.another(names)
    with cluster.uninterrupted(names), cluster.resets():
        cluster.begin()
        cluster.revoke(committed)
        cluster.postgresql.stop()
        time.sleep(cluster.sizes.down)
        cluster.postgresql.start()
        back = time.monotonic()
        for name in [committed, *names]:
            cluster.answers(name)
        took = time.monotonic() - back
    cluster.measure('calls answer after the database is back', took, BACK)
    cluster.check_rings(names)
    cluster.check_no_fight(1)
    assert cluster.owners() == before
    cluster.end_well(hands=1)


def database_outage(cluster, _number):
    """PostgreSQL hangs for longer than the grace: viewers end and return, capture goes on."""
    before = cluster.begin()
    names = cluster.one_of_each()
    limit = cluster.sizes.grace + cluster.sizes.interval
    with contextlib.ExitStack() as stack:
        viewers = {n: stack.enter_context(cluster.nodes[n].console()) for n in names}
        for viewer in viewers.values():
            viewer.wait_for(b'line')
        cluster.begin()
        cluster.postgresql.pause()
        try:
            for viewer in viewers.values():
                viewer.wait_for_end(limit + 10)
            _stay(cluster, cluster.sizes.outage)
        finally:
            cluster.postgresql.resume()
    ended = max(viewer.ended_at for viewer in viewers.values()) - cluster.began
    back = time.monotonic()
    for name in names:
        cluster.answers(name)
    cluster.measure('calls answer after the database goes on', time.monotonic() - back, BACK)
    cluster.measure('viewers ended', ended, limit + 2)
    for name, viewer in viewers.items():
        cursor = viewer.headers['Obmd-Cursor']
        with cluster.nodes[name].console(cursor=cursor) as again:
            again.wait_for(b'line', after=len(viewer.data))
            time.sleep(1)
        assert 'Obmd-Gap' not in again.headers
        assert_complete(again.data)
        assert again.data.startswith(viewer.data)
    assert cluster.owners() == before
    cluster.end_well(hands=1)


# -- a connection that passes nothing ---------------------------------------------------------


def hole_to_database(cluster, number):
    """A conductor is cut off from the database without a word."""
    relay = f'c{number} database'
    name = cluster.owned_by(number)[0]
    with cluster.nodes[name].console() as viewer:
        viewer.wait_for(b'line')
        cluster.begin()
        cluster.relays.hole(relay)
        try:
            took = cluster.wait_captured(cluster.sizes.ttl + CLAIM + 20, conductors=2)
            cluster.revoke(name)
            viewer.wait_for_end(cluster.sizes.grace + cluster.sizes.interval + 10)
            assert cluster.nodes[name].power() == 'on'
            _stay(cluster, cluster.sizes.hole)
            cluster.check_no_fight()
        finally:
            cluster.relays.heal(relay)
    cluster.measure('captured by others after the cut', took, cluster.sizes.ttl + CLAIM)
    healed = time.monotonic()
    cluster.wait_balanced()
    cluster.measure('its share again after the cut healed', time.monotonic() - healed)
    cluster.end_well(hands=3)


def stop_in_hole(cluster, number):
    """A conductor that is cut off from the database is stopped: it ends nobody's console."""
    relay = f'c{number} database'
    cluster.begin()
    cluster.relays.hole(relay)
    try:
        cluster.wait_captured(cluster.sizes.ttl + CLAIM + 20, conductors=2)
        cluster.check_no_fight()
        taken = cluster.begin()
        at = time.monotonic()
        cluster.conductor(number).send(signal.SIGTERM)
        cluster.conductor(number).wait(60)
        cluster.measure('gone after SIGTERM, cut off', time.monotonic() - at)
        cluster.check_no_fight(1)
        assert cluster.owners() == taken
    finally:
        cluster.relays.heal(relay)
    cluster.begin()
    cluster.conductor(number).start()
    cluster.wait_balanced()
    cluster.end_well()


def hole_to_broker(cluster, number):
    """A conductor is cut off from the broker without a word; its nodes stay its own."""
    relay = f'c{number} broker'
    name = cluster.owned_by(number)[0]
    before = cluster.begin()
    cluster.relays.hole(relay)
    try:
        at = time.monotonic()
        answer = cluster.nodes[name].call('GET', 'power_status', timeout=120)
        took = time.monotonic() - at
        assert answer.status_code in (503, 504), answer.text
        # a read is asked for once more before it is given up
        cluster.measure('a call into the hole ends', took, 2 * cluster.sizes.ttl + LATE)
        _stay(cluster, cluster.sizes.hole)
    finally:
        cluster.relays.heal(relay)
    healed = time.monotonic()
    cluster.answers(name, 60)
    cluster.measure('calls answer after the cut healed', time.monotonic() - healed, BACK)
    assert cluster.owners() == before
    cluster.end_well(hands=1)


def hole_to_viewers(cluster, number):
    """What a conductor streams does not arrive; nothing else notices, and nothing is lost."""
    relay = f'c{number} streams'
    name = cluster.owned_by(number)[0]
    before = cluster.begin()
    with cluster.nodes[name].console() as viewer:
        viewer.wait_for(b'line')
        cluster.relays.hole(relay)
        try:
            time.sleep(1)
            seen = len(viewer.data)
            assert cluster.nodes[name].power() == 'on'
            _stay(cluster, cluster.sizes.hole)
            assert len(viewer.data) == seen
        finally:
            cluster.relays.heal(relay)
        viewer.wait_for(b'line', after=seen)
        time.sleep(1)
        assert_complete(viewer.data)
    assert cluster.owners() == before
    cluster.end_well(hands=1)


# -- the disk of the logs ---------------------------------------------------------------------


def log_stall(cluster, number):
    """The disk of a conductor's logs takes nothing: only log lines are lost, and marked."""
    mine = cluster.incarnation(number)
    names = cluster.owned_by(number)[:3]
    known = len(cluster.log_gaps(names[1], mine))
    before = cluster.begin()
    with cluster.uninterrupted(names):
        first = cluster.beat(mine)
        with console_logs.Stall(cluster.log_folder(names[0]), mine):
            while time.monotonic() - cluster.began < cluster.sizes.stall:
                for name in names:
                    assert cluster.nodes[name].power() == 'on'
                time.sleep(0.5)
            assert cluster.beat(mine) > first
        healed = time.monotonic()
        wait_until(lambda: len(cluster.log_gaps(names[1], mine)) > known, 30, 'a marked gap')
        cluster.measure('a gap is marked after the disk goes on', time.monotonic() - healed)
    assert cluster.owners() == before
    cluster.end_well(hands=1)


#: name -> function of (cluster, number of the conductor that it hits)
FAULTS = {
    function.__name__: function
    for function in (
        kill,
        kill_and_restart,
        terminate,
        freeze,
        broker_restart,
        database_restart,
        database_outage,
        hole_to_database,
        stop_in_hole,
        hole_to_broker,
        hole_to_viewers,
        log_stall,
    )
}
