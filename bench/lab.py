"""What is measured: simulated BMCs and an obmd that knows them, started when first needed."""

import contextlib
import dataclasses

from bench import daemon
from tests.functional.farm import Farm


@dataclasses.dataclass
class Sizes:
    """How much; the defaults are those of the bounds.

    :ivar nodes: BMCs of the sweep and of the consoles.
    :ivar repetitions: of what takes long.  :ivar singles: of single calls.
    :ivar good, silent, deadline: BMCs and seconds of the sweep with silent BMCs.
    :ivar settle, watch: seconds before and while CPU and latency of consoles are measured.
    :ivar watched: consoles with a viewer while latency is measured.
    :ivar viewers: of the token that is deleted.
    :ivar others, dead, callers, crowd: nodes that work, BMCs that do not, callers waiting on
        those, viewers of the others.
    :ivar connections, busy: callers at once and seconds of the request rate.
    :ivar agents: machines with a ramdisk agent.
    :ivar beats, beating: heartbeats a second of all of them together, and for how many seconds.
    :ivar guesses, guessing: guesses a second, and seconds for which an operator calls meanwhile.
    """

    nodes: int = 1000
    repetitions: int = 5
    singles: int = 50
    good: int = 100
    silent: int = 10
    deadline: float = 5.0
    settle: float = 10.0
    watch: float = 20.0
    watched: int = 50
    viewers: int = 500
    others: int = 100
    dead: int = 20
    callers: int = 500
    crowd: int = 2000
    connections: int = 16
    busy: float = 4.0
    agents: int = 2000
    beats: int = 540
    beating: float = 30.0
    guesses: int = 1000
    guessing: float = 10.0

    @classmethod
    def quick(cls):
        """Small enough to see in seconds that everything works; no numbers to judge."""
        return cls(
            nodes=12,
            repetitions=2,
            singles=5,
            good=8,
            silent=2,
            deadline=1.5,
            settle=0.5,
            watch=2.0,
            watched=4,
            viewers=10,
            others=4,
            dead=2,
            callers=6,
            crowd=16,
            connections=4,
            busy=0.5,
            agents=20,
            beats=40,
            beating=1.0,
            guesses=50,
            guessing=1.0,
        )


class Lab:
    """A context manager; everything that was started ends with it.

    :param say: called with str, what goes on.
    """

    def __init__(self, sizes, say):
        self.sizes = sizes
        self.say = say
        self._open = contextlib.ExitStack()
        self._kind = None
        self.farm = None
        self.obmd = None

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._open.close()

    def quiet(self):
        """BMCs whose consoles say nothing.  :returns: list of the farm's dicts."""
        count = max(self.sizes.nodes, self.sizes.good + self.sizes.silent)
        return self._set_up('quiet', count, rate=0)

    def talking(self):
        """BMCs that print a line a second, each with the time in it."""
        return self._set_up('talking', max(self.sizes.nodes, self.sizes.others), rate=1)

    def end(self):
        """End what was started: servers of a measure's own are to be alone."""
        self._open.close()
        self._kind = None

    def _set_up(self, kind, count, **options):
        if self._kind != kind:
            self.end()
            self.say(f'starting {count} ipmi_sim and an obmd that knows them')
            self.farm = self._open.enter_context(Farm(count, power_on=True, **options))
            self.obmd = self._open.enter_context(daemon.Obmd())
            register(self.obmd, self.farm.bmcs)
            self._kind = kind
        return self.farm.bmcs


def register(obmd, bmcs):
    """Register ``bmcs`` under their names and wait until obmd owns them."""
    obmd.register({bmc['name']: ('ipmi', info_of(bmc)) for bmc in bmcs})
    obmd.wait_for('owner IS NOT NULL', len(bmcs), 60)


def info_of(bmc):
    """:returns: dict, ``info`` of the driver ipmi."""
    return {
        'addr': bmc['address'],
        'port': bmc['port'],
        'user': bmc['user'],
        'pass': bmc['password'],
    }


def range_of(bmcs):
    """:returns: str, the range that names all of ``bmcs``."""
    first, last = bmcs[0]['name'], bmcs[-1]['name']
    return f'node[{first[4:]}-{last[4:]}]'
