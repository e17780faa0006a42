"""The service itself: how soon it answers, what it takes, how many requests it serves."""

from bench import clients
from bench import daemon
from bench.report import Row
from bench.report import Samples


def start(lab):
    """From exec to the first HTTP answer, with an empty state folder and with one that is there;
    memory after a few hundred requests."""
    first, again, memory = [], [], []
    for _ in range(lab.sizes.repetitions):
        with daemon.Obmd() as obmd:
            first.append(obmd.started_in)
            token = _mock(obmd)
            ask = obmd.operation('GET', 'mock1', 'power_status', token)
            for _ in range(200):
                clients.exchange(obmd.address, ask)
            memory.append(obmd.memory() / 1e6)
            obmd.restart()
            again.append(obmd.started_in)
    first, again, memory = Samples(first), Samples(again), Samples(memory)
    return [
        Row('start_first', 'start to first answer, empty', first.median, 's', 3.0, samples=first),
        Row('start', 'start to first answer, again', again.median, 's', 3.0, samples=again),
        Row(
            'memory',
            'memory of the all in one',
            memory.median,
            'MB',
            150,
            samples=memory,
            note='resident, after 200 requests',
        ),
    ]


def rate(lab):
    """Requests a second: ``power_status`` of a mock node, token and database row checked each."""
    sizes, rates, times = lab.sizes, [], []
    with daemon.Obmd() as obmd:
        ask = obmd.operation('GET', 'mock1', 'power_status', _mock(obmd))
        for _ in range(sizes.repetitions):
            with clients.Loop() as loop:
                callers = [clients.Caller(obmd.address, ask) for _ in range(sizes.connections)]
                for caller in callers:
                    loop.add(caller)
                loop.run(sizes.busy)
            answered = [seconds for caller in callers for seconds in caller.times]
            rates.append(len(answered) / sizes.busy)
            times += answered
    rates, times = Samples(rates), Samples([1000 * seconds for seconds in times])
    what = f'{sizes.connections} kept-alive connections'
    return [
        Row('rate', f'requests/s, {what}', rates.median, '/s', samples=rates),
        Row('rate_latency', 'one of these requests', times.median, 'ms', samples=times),
    ]


def _mock(obmd):
    obmd.register({'mock1': ('mock', {})})
    return obmd.token('mock1')
