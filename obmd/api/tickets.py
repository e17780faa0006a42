"""Tickets of the Action door: jobs, as JSON:API has them."""

import time

from obmd.api import jobs
from obmd.api import output
from obmd.api import selection
from obmd.api.jsonapi import documents
from obmd.api.jsonapi import errors as jsonapi_errors
from obmd.api.jsonapi import requests
from obmd.common import errors
from obmd.db import runs

#: what may be included
ONE = ('command', 'context', 'jobs', 'jobs.node')
MANY = ('command', 'context')

_CONTEXT = '/data/attributes/context'
_ARGUMENTS = '/data/attributes/arguments'
_USERNAME, _UID = '/data/attributes/request-username', '/data/attributes/request-uid'
#: characters of a user's name
_LONGEST_NAME = 255
#: what a uid may be: 32 bits, as signed numbers too (a uid of -2 is not unheard of)
_LEAST_UID, _MOST_UID = -(2**31), 2**32 - 1
#: bytes of each of a run's two outputs that a document holds, and of all of them together
LARGEST, LARGEST_TOGETHER = 65536, 16 * 2**20
#: seconds for reading them
PATIENCE = 5.0
_CUT = "\n[cut here; the ticket's stream has all of it]\n"
NODES, GROUPS = 'nodes', 'groups'


def not_found(kind, id_, why=None):
    """:returns: NotFound as the original's callers know it."""
    detail = f'Not Found: {kind} {id_}'
    return errors.NotFound(f'{detail} ({why})' if why else detail)


# -- what is asked for ------------------------------------------------------------------------


class Asked:
    """What a POST asks for, checked as far as the document goes.

    :ivar command: ``obmd.common.commands.Command``.
    :ivar arguments: list of str.
    :ivar context: (``nodes`` or ``groups``, str), or None.
    :ivar username: str or None.  :ivar uid: int or None.
    """

    def __init__(self, attributes, relationships):
        self.arguments = _arguments(attributes.get('arguments'))
        self.username = _username(attributes.get('request-username'))
        self.uid = _uid(attributes.get('request-uid'))
        named = requests.linked(relationships, 'command')
        if named is None or named[0] != 'commands' or not named[1]:
            raise jsonapi_errors.Unprocessable("can't be blank", '/data/attributes/command')
        self.command = command(named[1])
        self.context = _context(requests.linked(relationships, 'context'), self.command)


def command(name):
    """:returns: ``obmd.common.commands.Command``.  :raises NotFound:"""
    try:
        return jobs.table.get(name)
    except errors.NotFound:
        raise not_found('command', name[:255]) from None


def select(identity, kind, text):
    """What a context names.  A node that the token is not for is as one that does not exist.

    :param kind: ``nodes``: ``text`` is a name; ``groups``: a range.
    :returns: list of ``obmd.db.nodes.Node``.
    :raises NotFound: naming all that are not there, or why it is no range.
    """
    try:
        if kind == GROUPS:
            return selection.rows(identity.expand(text))
        identity.require_nodes([text])
        return selection.rows([text])
    except (errors.NotFound, errors.InvalidInput) as error:
        if kind == NODES:
            raise not_found('node', text[:255]) from None
        raise not_found('group', text[:1000], error.reason) from None


def _context(named, command):
    if not command.has_context:
        if named is not None:
            raise jsonapi_errors.Unprocessable('must be blank', _CONTEXT)
        return None
    if named is None or named[0] not in (NODES, GROUPS) or not named[1]:
        raise jsonapi_errors.Unprocessable("can't be blank", _CONTEXT)
    return named


def _arguments(given):
    if given is None:
        return []
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise jsonapi_errors.Unprocessable('must be a list of texts', _ARGUMENTS)
    return given


def _username(given):
    if given is None:
        return None
    if not isinstance(given, str) or '\0' in given or len(given) > _LONGEST_NAME:
        raise jsonapi_errors.Unprocessable(
            f'must be a text of at most {_LONGEST_NAME} characters', _USERNAME
        )
    return given


def _uid(given):
    if given is None:
        return None
    if isinstance(given, str) and len(given) < 12 and given.isascii() and given.isdigit():
        given = int(given)
    if not isinstance(given, int) or isinstance(given, bool):
        raise jsonapi_errors.Unprocessable('is not a number', _UID)
    if not _LEAST_UID <= given <= _MOST_UID:
        raise jsonapi_errors.Unprocessable('is not a number of 32 bits', _UID)
    return given


# -- what is shown ----------------------------------------------------------------------------


def show_command(command):
    return documents.resource(
        'commands',
        command.name,
        {
            'name': command.name,
            'description': command.description,
            'summary': command.summary,
            'confirmation': command.confirmation,
            'has-context': command.has_context,
            'syntax': command.syntax,
        },
    )


def show_node(name):
    return documents.resource(NODES, name, {'name': name})


def show_group(text, names=None):
    """:param names: list of str, of its nodes, or None: they are not told."""
    linked = None
    if names is not None:
        linked = {NODES: [documents.identifier(NODES, name) for name in names]}
    return documents.resource(GROUPS, text, {'name': text}, linked)


def show(job, told=None):
    """:param told: list of ``obmd.db.runs.Run``, to name, or None."""
    linked = {'command': documents.identifier('commands', job.command), 'context': None}
    if job.context is not None:
        linked['context'] = documents.identifier(job.context_type, job.context)
    if told is not None:
        linked['jobs'] = [documents.identifier('jobs', _id(run)) for run in told]
    attributes = {
        'arguments': job.arguments,
        'state': job.state,
        'status': job.status,
        'total': job.total,
        'created-at': job.created_at,
        'ended-at': job.ended_at,
        'request-username': job.claimed_user,
        'request-uid': job.claimed_uid,
    }
    stream = {'output_stream': f'/streaming{documents.path("tickets", job.uuid)}'}
    return documents.resource('tickets', job.uuid, attributes, linked, stream)


def show_run(run, written):
    """:param written: dict of position to (str, str), what it has written."""
    stdout, stderr = written.get(run.position, ('', ''))
    attributes = {
        'stdout': stdout,
        'stderr': stderr,
        'status': run.status if run.state == runs.ENDED else None,
        'state': run.state,
        'outcome': run.outcome,
        'reason': run.reason,
    }
    node = None if run.node_name is None else documents.identifier(NODES, run.node_name)
    linked = {'node': node, 'ticket': documents.identifier('tickets', run.job_uuid)}
    return documents.resource('jobs', _id(run), attributes, linked)


def _id(run):
    return f'{run.job_uuid}.{run.position}'


def parse_run(text):
    """:returns: (str uuid of the job, int position).  :raises NotFound: it is no id of a run."""
    uuid, _, position = (text or '').partition('.')
    if not (position.isascii() and position.isdigit() and len(position) < 10):
        raise not_found('job', (text or '')[:255])
    return uuid, int(position)


def included(job, query, told, written):
    """:param query: :class:`obmd.api.jsonapi.requests.Query`.
    :returns: list of resource objects, or None: nothing was asked for.
    """
    if query.include is None:
        return None
    found = []
    if query.includes('command'):
        known = jobs.table.snapshot().commands.get(job.command)
        found += [show_command(known)] if known is not None else []
    in_context = query.includes('context') and job.context is not None
    if in_context and job.context_type == GROUPS:
        found.append(show_group(job.context))
    if query.includes('jobs'):
        found += [show_run(run, written) for run in told]
    names = [run.node_name for run in told or ()] if query.includes('jobs.node') else []
    if in_context and job.context_type == NODES:
        names.append(job.context)
    found += [show_node(name) for name in dict.fromkeys(names) if name is not None]
    return found


def read(services, job, clock=time.monotonic):
    """What the runs of a job have written until now, as far as it fits into a document.

    :returns: dict of position to (str of stdout, str of stderr).
    :raises Unavailable: too many streams are open: this is one for a moment.
    """
    services.slots.take()
    try:
        return _read(services, job, clock)
    finally:
        services.slots.give()


def _read(services, job, clock):
    found, size, until = {}, 0, clock() + PATIENCE
    reader = output.Output(services, job)
    try:
        while not reader.finished and size < LARGEST_TOGETHER and clock() < until:
            # what a job that runs has written is there at once
            events = reader.read(until - clock() if job.state == runs.ENDED else 0.5)
            if not events:
                break
            for event in events:
                if event.kind in (output.STDOUT, output.STDERR):
                    pair = found.setdefault(event.position, (bytearray(), bytearray()))
                    part = pair[event.kind == output.STDERR]
                    taken = event.data[: max(0, LARGEST + 1 - len(part))]
                    part += taken
                    size += len(taken)
    finally:
        reader.close()
    return {position: tuple(map(_text, pair)) for position, pair in found.items()}


def _text(written):
    text = bytes(written[:LARGEST]).decode('utf-8', 'replace')
    return text + _CUT if len(written) > LARGEST else text
