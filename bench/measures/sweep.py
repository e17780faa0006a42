"""The power of many nodes at once."""

from bench import clients
from bench import peers
from bench.lab import range_of
from bench.report import Row
from bench.report import Samples


def sweep(lab):
    """Of all nodes over HTTP with warm sessions, and by ``ipmipower --stat``, in turns."""
    bmcs = lab.quiet()[: lab.sizes.nodes]
    nodes = range_of(bmcs)
    cold = _sweep(lab, nodes, len(bmcs))
    warm, peer, failed, cpu = [], [], [], []
    for _ in range(lab.sizes.repetitions):
        before = lab.obmd.cpu()
        warm.append(_sweep(lab, nodes, len(bmcs)))
        cpu.append(lab.obmd.cpu() - before)
        took, told = peers.ipmipower_stat(bmcs)
        (peer if told == len(bmcs) else failed).append(took)
    if not peer:
        raise peers.PeerFailed(f'ipmipower did not get the power of {len(bmcs)} BMCs once')
    warm, peer, cpu = Samples(warm), Samples(peer), Samples(cpu)
    what = f'sweep of {len(bmcs)}, warm'
    note = f'ipmipower missed BMCs {len(failed)} times, not counted' if failed else ''
    shared = {'samples': warm, 'peer': peer, 'peer_name': 'ipmipower'}
    cost = f'{cpu.median:.2f} s of it CPU of obmd; the simulators fork a shell per answer'
    return [
        Row('sweep_ratio', what, warm.median, 's', 5, bound_on_ratio=True, note=note, **shared),
        Row('sweep', what, warm.median, 's', 2.0, samples=warm, note=cost),
        Row('sweep_cold', f'sweep of {len(bmcs)}, logins included', cold, 's'),
    ]


def _sweep(lab, nodes, count):
    """:returns: seconds."""
    lines, took = lab.obmd.sweep(nodes, 10)
    told = [line for _, line in lines if line.get('power_status') in ('on', 'off')]
    if len(told) != count:
        failed = [line for _, line in lines if 'error' in line][:3]
        raise clients.BadAnswer(f'{len(told)} of {count} nodes answered: {failed}')
    return took


def silent(lab):
    """Good BMCs beside silent ones: first sessions that fall silent, then logins into nothing."""
    sizes = lab.sizes
    bmcs = lab.quiet()[: sizes.good + sizes.silent]
    nodes, hung = range_of(bmcs), bmcs[-sizes.silent :]
    _sweep(lab, nodes, len(bmcs))
    latest, whole, firsts = [], [], []
    try:
        for bmc in hung:
            lab.farm.stop(bmc)
        for _ in range(sizes.repetitions):
            lines, took = lab.obmd.sweep(nodes, sizes.deadline)
            good = [at for at, line in lines if 'power_status' in line]
            if len(good) != sizes.good or len(lines) != len(bmcs):
                raise clients.BadAnswer(f'{len(good)} good lines of {len(lines)}')
            firsts.append(min(good))
            latest.append(max(good))
            whole.append(took)
        peer, _ = peers.ipmipower_stat(bmcs)
    finally:
        for bmc in hung:
            lab.farm.resume(bmc)
    latest, whole, peer = Samples(latest), Samples(whole), Samples([peer])
    what = f'{sizes.good} good and {sizes.silent} silent: '
    return [
        Row('silent_good', what + 'last good line', latest.median, 's', 1.0, samples=latest),
        Row(
            'silent_whole',
            what + 'the whole',
            whole.median,
            's',
            sizes.deadline + 0.5,
            samples=whole,
            peer=peer,
            peer_name='ipmipower',
            note=f'deadline {sizes.deadline:g} s',
        ),
    ]
