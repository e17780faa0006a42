"""``obm job ...``"""

import itertools

from obmd.client import errors
from obmd.client.cli import base
from obmd.client.cli import running
from obmd.client.cli import screen


class _OneJob:
    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('job', metavar='JOB', help='Its id.')
        return parser


class JobList(base.Lister):
    """List jobs, newest first."""

    columns = {
        'Id': lambda job: job['id'],
        'Command': lambda job: ' '.join([job['command'], *(job.get('arguments') or ())]),
        'Nodes': lambda job: job.get('nodes') or '',
        'State': lambda job: job['state'],
        'Status': lambda job: job.get('status'),
        'Runs': lambda job: job.get('total'),
        'Failed': lambda job: job.get('failed'),
        'Created': lambda job: job.get('created_at'),
    }

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('--state', choices=('running', 'ended'))
        parser.add_argument('--most', type=int, default=100, metavar='N', help='Default: 100.')
        return parser

    def take_action(self, parsed_args):
        found = self.client.jobs.list(state=parsed_args.state)
        return self.table(itertools.islice(found, parsed_args.most))


class JobShow(_OneJob, base.ShowOne):
    """Show a job."""

    def take_action(self, parsed_args):
        job = self.client.jobs.get(parsed_args.job)
        job.pop('links', None)
        for name, value in (job.pop('requested_by', None) or {}).items():
            job[f'requested_by_{name}'] = value
        for name, count in (job.pop('counts', None) or {}).items():
            job[f'runs_{name}'] = count
        return self.table(job)


class JobRuns(_OneJob, base.Lister):
    """List what a job does on each node."""

    columns = {
        'Node': lambda run: run['node'] or '',
        'State': lambda run: run['state'],
        'Outcome': lambda run: run.get('outcome') or '',
        'Status': lambda run: run.get('status'),
        'Reason': lambda run: run.get('reason') or '',
        'Conductor': lambda run: run.get('conductor') or '',
        'Started': lambda run: run.get('started_at') or '',
        'Ended': lambda run: run.get('ended_at') or '',
        'Bytes': lambda run: run.get('output_bytes'),
    }

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('--state', choices=('queued', 'running', 'ended'))
        return parser

    def take_action(self, parsed_args):
        return self.table(self.client.jobs.runs(parsed_args.job, state=parsed_args.state))


class JobWatch(_OneJob, running.Watched):
    """Show a job's output from its beginning to its end; Ctrl-C leaves it to itself."""

    def take_action(self, parsed_args):
        return self.watch(self.client.jobs.get(parsed_args.job), parsed_args)


class JobOutput(_OneJob, base.Command):
    """Print what one node has written while it writes; byte for byte, if not to a terminal."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('node', nargs='?', metavar='NODE', help='Left out if the job has none.')
        parser.add_argument('--stream', choices=('stdout', 'stderr', 'both'), default='both')
        return parser

    def take_action(self, parsed_args):
        jobs = self.client.jobs
        position = self._position(jobs.runs(parsed_args.job), parsed_args.node)
        to = screen.Plain(self.app.stdout, self.app.stderr)
        for data in jobs.output(parsed_args.job, position, parsed_args.stream):
            to.write('stdout', data)

    def _position(self, runs, node):
        for run in runs:
            if run['node'] == node:
                return run['position']
        about = 'nodes: say which one' if node is None else f'no node {node}'
        raise errors.ClientError(f'the job has {about}')


class JobCancel(_OneJob, base.Command):
    """End what a job runs, and start nothing more of it."""

    def take_action(self, parsed_args):
        self.client.jobs.cancel(parsed_args.job)
