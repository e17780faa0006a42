"""What one request of the Ironic door costs: milliseconds of CPU in each process, by its kind.

``python -m bench.cost`` starts an API of two workers and a conductor over RabbitMQ and PostgreSQL.
Other work on the machine makes CPU slower by up to a half, for a while: each kind is measured
several times, and the least counts.
"""

import argparse
import random
import sys

from bench import agents
from bench import shots

#: requests a second from one address, so that few are not beyond it
_RATE = 2


def main(arguments=None):
    """:returns: int, 0."""
    p = argparse.ArgumentParser(prog='python -m bench.cost', description=__doc__.split(':')[0])
    add = p.add_argument
    add('--nodes', type=int, default=2000, metavar='N', help='and requests of each kind (2000)')
    add('--at-once', type=int, default=32, metavar='N', help='callers (32)')
    add('--rounds', type=int, default=8, metavar='N', help='in which the nodes take turns (8)')
    args = p.parse_args(arguments)
    with agents.Agents(args.nodes, {'rate_per_address': _RATE, 'rate_per_node': 0}) as there:
        _print('ms of CPU for each', there.parts)
        turns = [list(range(args.nodes))[start :: args.rounds] for start in range(args.rounds)]
        for name, ask, status in _kinds(there, args.at_once):
            rounds = [_cost(there, ask, numbers, status) for numbers in turns]
            least = min(rounds, key=lambda costs: sum(costs.values()))
            _print(name, map('{:.2f}'.format, least.values()))
    return 0


def _cost(there, ask, numbers, status):
    with there.costs(len(numbers)) as costs:
        found, _ = ask(numbers)
    _check(found, status)
    return costs


def _kinds(there, at_once):
    """:returns: iterator of (name, callable of numbers giving (list of Shot, seconds), status)."""

    def guesses(guess, machine):
        drawn = random.Random(7)

        def ask(numbers):
            asked = [guess(drawn, there.count, machine(number)) for number in numbers]
            return shots.drained(there.address, asked, at_once)

        return ask

    yield 'lookup that issues the token', lambda numbers: there.look_up(at_once, numbers), 200
    yield 'lookup again', lambda numbers: there.look_up(at_once, numbers), 200
    yield 'first heartbeat', lambda numbers: there.beat(at_once, numbers), 202
    yield 'heartbeat', lambda numbers: there.beat(at_once, numbers), 202
    yield 'lookup of an unknown MAC', guesses(agents.guess_mac, agents.stranger), 404
    yield 'heartbeat with a wrong token', guesses(agents.guess_token, agents.stranger), 400
    yield 'beyond the rate of an address', guesses(agents.guess_mac, _one_address), 429


def _one_address(_number):
    return agents.stranger(0)


def _check(found, status):
    """:raises BadAnswer: more than a few have another status."""
    others = [shot for shot in found if shot.status != status]
    if len(others) > len(found) / 5:
        agents.check(others, status)


def _print(name, values):
    print(f'{name:32}' + ''.join(f'{value:>11}' for value in values), flush=True)


if __name__ == '__main__':
    sys.exit(main())
