"""What is measured, in the order in which it runs.

Each measure is a function of a :class:`bench.lab.Lab` that returns :class:`bench.report.Row` s.
Those that need the quiet simulators come first, then those with talking consoles, then those with
servers of their own.
"""

from bench.measures import agents
from bench.measures import consoles
from bench.measures import crowd
from bench.measures import jobs
from bench.measures import power
from bench.measures import service
from bench.measures import sweep

#: name on the command line -> function
MEASURES = {
    'start': service.start,
    'rate': service.rate,
    'sweep': sweep.sweep,
    'silent': sweep.silent,
    'status': power.status,
    'power_on': power.power_on,
    'job_power': jobs.power,
    'consoles': consoles.consoles,
    'revocation': consoles.revocation,
    'crowd': crowd.crowd,
    'jobs': jobs.scripts,
    'agents': agents.agents,
}
