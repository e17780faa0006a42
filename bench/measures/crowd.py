"""What others feel of dead BMCs, of those who wait for them, and of thousands of viewers."""

import contextlib
import itertools
import socket
import time

from bench import clients
from bench.crowd import Crowd
from bench.lab import info_of
from bench.report import Row
from bench.report import Samples


def crowd(lab):
    """``power_status`` of nodes that work, before and while the crowd is there."""
    sizes = lab.sizes
    bmcs, obmd = lab.talking()[: sizes.others], lab.obmd
    with contextlib.ExitStack() as stack:
        dead = _register_dead(lab, stack)
        callers = [obmd.operation('GET', name, 'power_status', obmd.token(name)) for name in dead]
        tokens = {bmc['name']: obmd.token(bmc['name']) for bmc in bmcs}
        asks = [obmd.operation('GET', n, 'power_status', t) for n, t in tokens.items()]
        views = [obmd.operation('GET', n, 'console', t) for n, t in tokens.items()]
        for ask in asks:
            clients.exchange(obmd.address, ask)
        before = _measure(obmd, asks, sizes)
        lab.say(f'{sizes.callers} callers of {sizes.dead} dead BMCs, {sizes.crowd} viewers')
        gathering = Crowd(
            obmd.address,
            _repeat(views, sizes.crowd),
            _repeat(callers, sizes.callers),
            expected=frozenset((503, 504)),
        )
        with gathering as there:
            time.sleep(sizes.settle / 2)
            started, cpu = there.ask(), obmd.cpu()
            clock = time.monotonic()
            during = _measure(obmd, asks, sizes)
            share = 100 * (obmd.cpu() - cpu) / (time.monotonic() - clock)
            ended = there.ask()
    if ended['viewers'] != sizes.crowd or ended['bytes'] <= started['bytes']:
        raise clients.BadAnswer(f'viewers were lost: {started} {ended}')
    what = f'{sizes.callers} wait on {sizes.dead} dead BMCs, {sizes.crowd} viewers: '
    note = f'obmd at {share:.0f} % of a core; {before.median:.1f} ms before, {during.median:.1f} ms'
    return [
        Row(
            'crowd',
            what + 'added to others',
            max(0.0, during.median - before.median),
            'ms',
            20,
            samples=during,
            peer=before,
            peer_name='before',
            is_rival=False,
            note=note,
        )
    ]


def _register_dead(lab, stack):
    """BMCs that swallow what comes.  :returns: list of names."""
    names = {}
    for number in range(1, lab.sizes.dead + 1):
        hole = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        hole.bind(('127.0.0.1', 0))
        bmc = {'address': '127.0.0.1', 'port': hole.getsockname()[1]}
        names[f'dead{number}'] = ('ipmi', info_of({**bmc, 'user': 'ADMIN', 'password': 'secret'}))
    for name in names:
        stack.callback(lab.obmd.ask, 'DELETE', f'/node/{name}')
    lab.obmd.register(names)
    return list(names)


def _measure(obmd, asks, sizes):
    """One call after the other, over all nodes in turn.  :returns: Samples, milliseconds."""
    times = []
    end = time.monotonic() + sizes.watch / 2
    for ask in itertools.cycle(asks):
        started = time.monotonic()
        if started > end:
            return Samples(times)
        clients.exchange(obmd.address, ask)
        times.append(1000 * (time.monotonic() - started))
    return Samples(times)


def _repeat(requests, count):
    return list(itertools.islice(itertools.cycle(requests), count))
