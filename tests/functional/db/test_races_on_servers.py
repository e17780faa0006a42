"""Many who change descriptions and agents at once, on each database."""

import functools
import random
import threading
import uuid

import pytest
import sqlalchemy as sa

from obmd.common import errors
from obmd.conf import CONF
from obmd.db import agents
from obmd.db import descriptions
from obmd.db import engine
from obmd.db import models
from obmd.db import nodes

MACS = [f'52:54:00:00:00:{number:02x}' for number in range(6)]


@pytest.fixture(params=['sqlite', 'postgresql', 'mariadb'])
def database(request, tmp_path):
    if request.param == 'sqlite':
        url = f'sqlite:///{tmp_path}/obmd.sqlite'
    else:
        server = request.getfixturevalue(request.param)
        url = server.new_database(f'races{uuid.uuid4().hex[:8]}')
    CONF.set_override('connection', url, 'database')
    engine.setup()
    engine.upgrade()
    yield engine
    engine.dispose()
    CONF.clear_override('connection', 'database')


def make(name):
    return nodes.create(name, 'mock', '', 'sealed', 'key', '', str(uuid.uuid4()))


def at_once(*works):
    """Run each in a thread of its own.  :returns: list of what they return, or raise."""
    results = [None] * len(works)
    gate = threading.Barrier(len(works))

    def run(place, work):
        gate.wait(30)
        try:
            results[place] = work()
        except BaseException as error:
            results[place] = error

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    return results


def test_one_address_that_all_want_is_ones(database):
    for turn in range(8):
        several = [make(f'n{turn}-{number}') for number in range(5)]
        mac = f'52:54:00:00:01:{turn:02x}'
        results = at_once(
            *(functools.partial(descriptions.change, node.uuid, [mac]) for node in several)
        )
        won = [one for one in results if isinstance(one, descriptions.Description)]
        assert [one.ports for one in won] == [(mac,)], results
        ((holder, _agent),) = agents.find([mac])
        lost = [one for one in results if not isinstance(one, descriptions.Description)]
        for error in lost:
            assert isinstance(error, errors.MacTaken)
            assert f'"{holder.name}"' in error.reason


def test_who_changes_addresses_gets_all_of_them_or_none(database):
    several = [make(f'n{number}') for number in range(4)]

    def play(node, chance):
        had, won = (), 0
        for _ in range(25):
            wanted = tuple(sorted(chance.sample(MACS, chance.randrange(4))))
            try:
                had = descriptions.change(node.uuid, chance.sample(wanted, len(wanted))).ports
                won += 1
                assert had == wanted
            except errors.MacTaken as error:
                assert f'"{node.name}"' not in error.reason
            except errors.Unavailable:
                # deadlocks one after the other, or whose it was had gone when it was looked for
                pass
            assert descriptions.get(node.uuid).ports == had
        return won

    plays = enumerate(several)
    won = at_once(*(functools.partial(play, node, random.Random(seed)) for seed, node in plays))
    assert all(isinstance(one, int) and one >= 3 for one in won), won
    held = [mac for node in several for mac in descriptions.get(node.uuid).ports]
    assert len(held) == len(set(held))


def test_two_nodes_that_swap_their_addresses_do_not_wait_for_ever(database):
    one, other = make('n1'), make('n2')
    for _ in range(5):
        descriptions.change(one.uuid, MACS[:1])
        descriptions.change(other.uuid, MACS[1:2])
        at_once(
            lambda: descriptions.change(one.uuid, MACS[1:2]),
            lambda: descriptions.change(other.uuid, MACS[:1]),
        )
        held = [descriptions.get(node.uuid).ports for node in (one, other)]
        assert all(len(ports) == 1 for ports in held)
        assert held[0] != held[1]
        descriptions.change(one.uuid, [])
        descriptions.change(other.uuid, [])


def test_what_several_say_of_one_node_is_all_kept(database):
    node = make('n1')
    names = ['properties', 'extra', 'instance_info']

    def say(name):
        for number in range(15):
            descriptions.change(node.uuid, **{name: {'a': number}})

    results = at_once(
        *(functools.partial(say, name) for name in names),
        lambda: [descriptions.change(node.uuid, [mac]) for mac in MACS] and None,
    )
    assert results == [None] * 4
    found = descriptions.get(node.uuid)
    assert [getattr(found, name) for name in names] == [{'a': 14}] * 3
    assert found.ports == (MACS[-1],)


def test_nothing_stays_of_a_node_that_is_deleted_meanwhile(database):
    for turn in range(10):
        one = make('n1').uuid
        works = [
            functools.partial(descriptions.change, one, MACS, extra={'a': 1}),
            functools.partial(agents.expect, one, 4e9),
            functools.partial(agents.issue_token, one, 'a' * 64, 0),
            functools.partial(agents.record, [(one, 'a' * 64, {'status': 'ok'})]),
            functools.partial(nodes.delete, 'n1'),
        ]
        at_once(*works[turn % 5 :], *works[: turn % 5])
        nodes.delete('n1')
        with engine.reader() as connection:
            for table in (models.Port, models.Description, models.Agent):
                assert connection.execute(sa.select(table.node_uuid)).all() == []


def test_of_many_lookups_at_once_one_gets_the_token(database):
    for turn in range(8):
        node = make(f'n{turn}')
        if turn % 2:
            agents.expect(node.uuid, 4e9)
        hashes = [f'{number}' * 64 for number in range(6)]
        seen = agents.get(node.uuid).generation
        given = at_once(
            *(functools.partial(agents.issue_token, node.uuid, h, seen) for h in hashes)
        )
        assert sorted(given) == [False] * 5 + [True]
        assert agents.get(node.uuid).token_hash == hashes[given.index(True)]


def test_an_agent_that_is_forgotten_while_it_reports_leaves_nothing(database):
    uuids = [make(f'n{number}').uuid for number in range(8)]
    for _ in range(10):
        for one in uuids:
            agents.issue_token(one, 'a' * 64, agents.get(one).generation)
        beats = [(one, 'a' * 64, {'status': 'ok', 'heartbeat_at': 1.0}) for one in uuids]
        results = at_once(
            functools.partial(agents.record, beats),
            functools.partial(agents.record, beats[::-1]),
            lambda: [agents.forget(one) for one in uuids[::-1]] and None,
            lambda: [agents.expect(one, 4e9) for one in uuids] and None,
        )
        assert results[0] <= set(uuids) and results[2:] == [None, None]
        assert {agents.get(one) for one in uuids} == {agents.Agent(expect_until=4e9)}
