"""Captured consoles: what they cost, how soon a byte arrives, how soon a viewer is cut."""

import re
import time

from bench import clients
from bench.report import Row
from bench.report import Samples

#: bytes of a ring of the default size, and what BMCs are made to print so that it is full
RING, BURST = 65536, 88 * 1024
#: seconds a BMC may take to say that much
_SAY = 120.0
_STAMP = re.compile(rb't=(\d+\.\d+)\r?\n')
_UP = "sol_holder NOT LIKE '% opening'"


def consoles(lab):
    """All consoles held open at a line a second."""
    sizes = lab.sizes
    bmcs, obmd = lab.talking()[: sizes.nodes], lab.obmd
    before = _idle_memory(lab, len(bmcs))
    answered, opened = [], []
    for _ in range(min(3, sizes.repetitions)):
        obmd.restart(console__capture='always')
        answered.append(obmd.started_in)
        opened.append(obmd.wait_for(_UP, len(bmcs), 120))
    time.sleep(sizes.settle)
    share = _cpu_share(obmd, sizes.watch)
    young = obmd.memory()
    latency = _latency(lab, bmcs[:: max(1, len(bmcs) // sizes.watched)][: sizes.watched])
    full = _fill(lab, bmcs)
    filled = obmd.memory()
    obmd.restart(console__capture='on_demand')
    what = f'{len(bmcs)} consoles at 1 line/s: '
    return [
        _row('consoles_start', what + 'start to first answer', Samples(answered), 's', 3.0),
        _row('consoles_open', what + 'start to all open', Samples(opened), 's', 10.0),
        _row('consoles_cpu', what + 'CPU', share, '% of a core', 20.0),
        Row(
            'consoles_memory',
            what + 'memory each, rings full',
            (filled - before) / len(bmcs) / 1024,
            'KiB',
            128,
            note=f'session included; filled by output, {full:.0%} of them to the brim; obmd with '
            f'the same nodes before: {before / 1e6:.0f} MB',
        ),
        Row(
            'consoles_memory_young',
            what + 'memory each, rings young',
            (young - before) / len(bmcs) / 1024,
            'KiB',
        ),
        Row(
            'consoles_latency',
            what + 'BMC to viewer, p99',
            latency.percentile(99),
            'ms',
            50,
            samples=latency,
            note=f'{sizes.watched} viewers',
        ),
    ]


def _row(name, what, samples, unit, bound):
    return Row(name, what, samples.median, unit, bound, samples=samples)


def _cpu_share(obmd, seconds, parts=4):
    """:returns: Samples, percent of a core in ``parts`` stretches of together ``seconds``."""
    shares = []
    for _ in range(parts):
        cpu, started = obmd.cpu(), time.monotonic()
        time.sleep(seconds / parts)
        shares.append(100 * (obmd.cpu() - cpu) / (time.monotonic() - started))
    return Samples(shares)


def _idle_memory(lab, count):
    """:returns: int, bytes of the same obmd that owns the same nodes and has no console."""
    lab.obmd.restart(console__capture='on_demand')
    lab.obmd.wait_for('owner IS NOT NULL', count, 60)
    time.sleep(lab.sizes.settle)
    return lab.obmd.memory()


def _latency(lab, bmcs):
    """:returns: Samples, milliseconds from a line's print to its arrival at a viewer."""
    times, rest = [], {}

    def data(viewer, now, chunk):
        text = rest.get(viewer, b'') + chunk
        last = 0
        for stamp in _STAMP.finditer(text):
            times.append(1000 * (now - float(stamp[1])))
            last = stamp.end()
        rest[viewer] = text[last:]

    with clients.Loop() as loop:
        for bmc in bmcs:
            loop.add(clients.Viewer(lab.obmd.address, _watch(lab, bmc), data))
        loop.run(lab.sizes.watch)
    if len(times) < len(bmcs) * lab.sizes.watch / 2:
        raise clients.BadAnswer(f'{len(times)} lines of {len(bmcs)} consoles')
    return Samples(times)


def _watch(lab, bmc):
    """:returns: bytes, the request of a viewer."""
    return lab.obmd.operation('GET', bmc['name'], 'console', lab.obmd.token(bmc['name']))


def _fill(lab, bmcs):
    """Let every BMC print more than a ring holds.  :returns: float, the share of full rings."""
    lab.say(f'letting {len(bmcs)} consoles print {BURST} bytes each')
    lab.farm.burst(BURST)
    sample = bmcs[:: max(1, len(bmcs) // 20)]
    asks = [_watch(lab, bmc) for bmc in sample]
    end = time.monotonic() + _SAY
    while True:
        offsets = [_offset(lab, ask) for ask in asks]
        if min(offsets) >= RING or time.monotonic() > end:
            return sum(offset >= RING for offset in offsets) / len(offsets)
        time.sleep(1)


def _offset(lab, ask):
    """:returns: int, bytes that this console has said so far."""
    with clients.Loop() as loop:
        viewer = _viewer(loop, lab.obmd, ask)
        return int(viewer.headers['obmd-cursor'].rpartition(':')[2])


def _viewer(loop, obmd, ask):
    """:returns: Viewer that has its headers."""
    viewer = loop.add(clients.Viewer(obmd.address, ask))
    if not loop.run(clients.PATIENCE, lambda: viewer.headers is not None):
        raise clients.BadAnswer('a viewer got no headers')
    return viewer


def revocation(lab):
    """From the request that deletes a token to the clean end of its last viewer."""
    sizes = lab.sizes
    bmc, obmd = lab.talking()[0], lab.obmd
    name, took = bmc['name'], []
    for _ in range(sizes.repetitions):
        with clients.Loop() as loop:
            ask = _watch(lab, bmc)
            # the first one opens the console; few may wait for that
            viewers = [_viewer(loop, obmd, ask)]
            more = [clients.Viewer(obmd.address, ask) for _ in range(sizes.viewers - 1)]
            viewers += [loop.add(viewer) for viewer in more]
            if not loop.run(30, lambda viewers=viewers: all(v.headers for v in viewers)):
                raise clients.BadAnswer('not every viewer got its headers')
            loop.run(2)
            asked = time.monotonic()
            revoke = obmd.admin('DELETE', f'/node/{name}/token')
            loop.add(clients.Caller(obmd.address, revoke, again=False))
            loop.run(30, lambda loop=loop: not len(loop))
            if not all(v.ended and v.clean for v in viewers):
                raise clients.BadAnswer('not every viewer was ended cleanly')
            took.append(1000 * (max(v.ended for v in viewers) - asked))
    took = Samples(took)
    what = f'token deleted, {sizes.viewers} viewers ended'
    return [Row('revocation', what, took.median, 'ms', 100, samples=took)]
