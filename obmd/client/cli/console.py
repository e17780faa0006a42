"""``obm console NODE``"""

from obmd.client import errors
from obmd.client import events
from obmd.client import transport as transports
from obmd.client.cli import base


class Console(base.Command):
    """Show a node's serial console; Ctrl-C leaves it."""

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('node', metavar='NODE')
        parser.add_argument(
            '--replay',
            type=int,
            metavar='BYTES',
            help='Begin with the newest BYTES that obmd has kept.',
        )
        parser.add_argument(
            '--takeover', action='store_true', help="End another client's session at the BMC."
        )
        return parser

    def take_action(self, parsed_args):
        options = {'replay': parsed_args.replay}
        if parsed_args.takeover:
            options['takeover'] = 'true'
        follow = following(self.client, parsed_args.node, options, self._note)
        for data in follow:
            self.app.stdout.buffer.write(data)
            self.app.stdout.buffer.flush()

    def _note(self, text):
        self.app.LOG.warning('%s', text)


def following(client, node, options, note):
    """Yield the console's bytes; where the connection breaks off it is made again.

    :param options: dict of the first request's query.  :param note: callable that takes a str.
    :raises Unreachable: it could not be made again.
    """
    clock, sleep = client.transport.clock, client.transport.sleep
    given_up = cursor = None
    was_there = False
    while True:
        try:
            for event in client.nodes.console(node, **options):
                given_up, was_there = None, True
                cursor = event.get('cursor') or cursor
                if event['event'] == 'data':
                    yield event['data']
                elif event['event'] == 'gap':
                    count = event.get('bytes')
                    note(f'{"an unknown number of" if count is None else count} bytes are lost')
                elif event.get('state'):
                    note(f'{node}: {event["state"]}')
            return
        except errors.Unreachable as error:
            problem, pause = error, transports.PAUSE
        except errors.Refused as refusal:
            if refusal.status != 503 or not was_there:
                raise
            problem, pause = refusal, transports.pause_after(refusal)
        if not was_there:
            raise problem
        given_up = clock() + events.PATIENCE if given_up is None else given_up
        if clock() + pause > given_up:
            raise problem
        sleep(pause)
        options = {} if cursor is None else {'cursor': cursor}
