"""The Ironic door: what agents may expect of it, and what an attacker on their network does."""

import collections
import itertools
import time

from bench import clients
from bench import shots
from bench.agents import Agents
from bench.agents import Guesses
from bench.agents import check
from bench.report import Row
from bench.report import Samples

#: Ironic's lookups a second on the same machine size, and how many times that is asked for
_IRONIC, _TIMES = 117, 4
#: an operator's calls a second while somebody guesses
_CALLS = 50


def agents(lab):
    """Lookups, heartbeats, and ``power_status`` while somebody guesses."""
    sizes = lab.sizes
    lab.end()
    lab.say(f'starting RabbitMQ, PostgreSQL, API and conductor with {sizes.agents} nodes')
    with Agents(sizes.agents) as there:
        rows = _lookups(there, sizes) + _heartbeats(there, sizes)
        time.sleep(sizes.settle / 5)
        return rows + _guesses(there, lab)


def _lookups(there, sizes):
    rows = []
    for name, what in (('lookups', 'issuing the token'), ('lookups_again', 'token not told')):
        with there.costs(sizes.agents) as costs:
            found, seconds = there.look_up(sizes.connections)
        times = Samples([1000 * shot.seconds for shot in found])
        rows.append(
            Row(
                name,
                f'lookups/s, {what}, {sizes.connections} callers',
                len(found) / seconds,
                '/s',
                _IRONIC * _TIMES,
                at_least=True,
                note=f'median {times.median:.1f} ms, p99 {times.percentile(99):.1f} ms; '
                + _cpu(costs),
            )
        )
    return rows


def _heartbeats(there, sizes):
    before = there.written()
    with there.costs(sizes.agents) as first_costs:
        first, seconds = there.beat(sizes.connections)
    check(first, 202)
    between = there.written()
    with there.costs(sizes.beats * sizes.beating) as costs:
        steady = there.beat_at(sizes.beats, sizes.beating)
    answers = collections.Counter(shot.status for shot in steady)
    after = there.written()
    times = Samples([1000 * shot.seconds for shot in steady])
    what = f'{sizes.beats} heartbeats/s of {sizes.agents} agents'
    return [
        Row(
            'heartbeats_first',
            f'first heartbeats/s, {sizes.connections} callers',
            len(first) / seconds,
            '/s',
            note=_cpu(first_costs),
        ),
        Row(
            'heartbeats_first_rows',
            'first heartbeats: rows written for each',
            (between - before) / len(first),
            '',
            1,
            note='of the table agents, as the database counts',
        ),
        Row(
            'heartbeats',
            f'{what}: accepted',
            answers[202] / sizes.beating,
            '/s',
            sizes.beats,
            at_least=True,
            note=f'answers: {dict(answers)}',
        ),
        Row(
            'heartbeats_p99',
            f'{what}: 99th percentile',
            times.percentile(99),
            'ms',
            100,
            samples=times,
            note=f'from when it was due; median {times.median:.1f} ms; {_cpu(costs)}',
        ),
        Row(
            'heartbeats_rows',
            f'{what}: rows written for each',
            (after - between) / len(steady),
            '',
            1,
            note='of the table agents, as the database counts',
        ),
    ]


def _cpu(costs):
    told = ', '.join(f'{name} {ms:.2f}' for name, ms in costs.items())
    return f'ms of CPU for each: {told}'


def _guesses(there, lab):
    rows, sizes = [], lab.sizes
    path = f'/node/n0/power_status?token={there.split.token("n0")}'
    ask = clients.request('GET', path), None
    for name, spread, what in (
        ('guesses', False, 'one address'),
        ('guesses_spread', True, 'an address each'),
    ):
        before = _operator(there, ask, sizes)
        lab.say(f'{sizes.guesses} guesses a second from {what}')
        with Guesses(there, sizes.guesses, spread) as guessing:
            time.sleep(sizes.settle / 5)
            during = _operator(there, ask, sizes)
        if guessing.answers[200] or guessing.answers[202]:
            raise clients.BadAnswer(f'a guess was right: {guessing.answers}')
        told = ', '.join(f'{count} x {status}' for status, count in guessing.answers.items())
        rows.append(
            Row(
                name,
                f'{sizes.guesses} guesses/s from {what}: added to power_status',
                max(0.0, during.median - before.median),
                'ms',
                20,
                samples=during,
                peer=before,
                peer_name='before',
                is_rival=False,
                note=f'{guessing.rate:.0f} guesses/s answered: {told}; '
                f'{before.median:.1f} ms before, {during.median:.1f} ms, '
                f'p99 {during.percentile(99):.1f} ms',
            )
        )
    return rows


def _operator(there, ask, sizes):
    """``power_status`` at a quiet pace.  :returns: Samples, milliseconds."""
    requests = itertools.repeat(ask, int(_CALLS * sizes.guessing))
    found = check(shots.paced(there.operators, requests, _CALLS), 200)
    return Samples([1000 * shot.seconds for shot in found])
