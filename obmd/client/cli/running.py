"""Commands that start a job and follow it."""

import argparse
import os
import pwd

from obmd.client.cli import asking
from obmd.client.cli import base
from obmd.client.cli import following
from obmd.client.cli import lines
from obmd.client.cli import screen

NODES_HELP = 'A node, or many: rack1n[01-20],n7,@group'


class Watched(base.Command):
    """Shows what a job does."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '-o',
            '--output',
            metavar='DIR',
            help='Write what the nodes say to DIR/NODE.out and DIR/NODE.err.',
        )
        parser.add_argument(
            '--prefix',
            action=argparse.BooleanOptionalAction,
            help='Start each line with its node. Default: if there is more than one.',
        )
        return parser

    def watch(self, job, options):
        """:param job: dict.  :returns: int, the exit status."""
        total = job.get('total') or 0
        on = screen.choose(self.app.stdout, self.app.stderr, total)
        if options.output is not None:
            to = lines.Folder(options.output, job['command'])
        else:
            named = total > 1 if options.prefix is None else options.prefix
            to = lines.Stream(on, named)
        return following.Follower(self.client, job, on, to).follow()


class Running(Watched):
    """Starts a job."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('-y', '--yes', '--confirm', action='store_true', help='Do not ask.')
        parser.add_argument('--limit', type=_count, metavar='N', help='Nodes at once.')
        parser.add_argument(
            '--stagger', type=_seconds, metavar='SECONDS', help='Pause between two starts.'
        )
        parser.add_argument(
            '--timeout', type=_seconds, metavar='SECONDS', help='Time that each node has.'
        )
        parser.add_argument(
            '--detach', action='store_true', help="Print the job's id and leave it to itself."
        )
        parser.add_argument(
            '--dry-run', action='store_true', help='Tell what would run where; run nothing.'
        )
        return parser

    def run_job(self, options, command, nodes, arguments=(), question=None, ask_from=2):
        """:param options: of the parser.  :param nodes: str, a range, or None.

        :param question: str with ``%{nodes}``, asked before the job is started, or None.
        :param ask_from: int, the fewest nodes that are asked for.
        :returns: int, the exit status.
        """
        jobs = self.client.jobs
        if options.dry_run:
            return self._tell(jobs.plan(command, nodes, arguments))
        is_one = ask_from > 1 and nodes is not None and base.is_one(nodes)
        if question is not None and not options.yes and not is_one:
            planned = [run['node'] for run in jobs.plan(command, nodes, arguments)]
            if len(planned) >= ask_from:
                named = [node for node in planned if node is not None]
                asking.confirm(self.app, asking.about(question, named, nodes))
        job = self._start(options, command, nodes, arguments)
        if options.detach:
            self.say(job['id'])
            return 0
        with following.ctrl_c_cancels(self.client, job, self.note):
            return self.watch(job, options)

    def _start(self, options, command, nodes, arguments):
        try:
            return self.client.jobs.start(
                command,
                nodes,
                arguments,
                limit=options.limit,
                stagger=options.stagger,
                timeout=options.timeout,
                **_user(),
            )
        except KeyboardInterrupt:
            self.note('whether the job was started is not known, see: obm job list')
            raise

    def note(self, text):
        self.app.LOG.warning('%s', text)

    def _tell(self, runs):
        problems = 0
        for run in runs:
            problem = run.get('problem')
            problems += problem is not None
            text = problem if problem is not None else _planned(run)
            self.say(f'{base.printable(run["node"] or "-")}: {base.printable(text)}')
        return 1 if problems else 0


def add_nodes(parser):
    """Where NODES is, and what flight-action's users put beside it."""
    parser.add_argument('nodes', metavar='NODES', help=NODES_HELP)
    # a switch there: here every NODES may be a range
    parser.add_argument('-g', '--group', action='store_true', help=argparse.SUPPRESS)


def _planned(run):
    text = run['executes']
    if run.get('rank'):
        text += f' (rank {run["rank"]})'
    return f'{text} on {run["conductor"]}' if run.get('conductor') else text


def _user():
    """:returns: dict, who the caller says to be; the server writes it down as a claim."""
    uid = os.getuid()
    try:
        return {'request_username': pwd.getpwuid(uid).pw_name, 'request_uid': uid}
    except KeyError:
        return {'request_uid': uid}


def _count(text):
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _seconds(text):
    number = float(text)
    if not 0 <= number < float('inf'):
        raise ValueError
    return number


_count.__name__, _seconds.__name__ = 'count', 'number of seconds'
