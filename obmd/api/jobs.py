"""Jobs as the doors make, show and cancel them; the engine is ``obmd.conductor.jobs``.

Whether the caller may run a command, and on these nodes, is the door's to say before.
"""

import dataclasses
import math
import uuid as uuids

from obmd.common import command_table
from obmd.common import errors
from obmd.common import ranges
from obmd.conductor import ownership
from obmd.conductor.builtin import metadata
from obmd.conf import CONF
from obmd.db import audit
from obmd.db import jobs
from obmd.db import ranks
from obmd.db import runs

#: characters of all arguments together: Linux takes 128 KiB for one and some more for all
MOST_ARGUMENTS = 65536
#: seconds between two starts, at most
MOST_STAGGER = 3600.0
_HIGHEST_UID = 2**32 - 1

table = command_table.Table(metadata.METADATA)


@dataclasses.dataclass(frozen=True)
class Requester:
    """Who asks for a job.

    :ivar subject: str, ``admin`` or of an access token; ``label``: str or None.
    :ivar admin: bool: sees everybody's jobs.
    :ivar door: ``native`` or ``action``.
    :ivar source: str or None, an address.
    :ivar claimed_user, claimed_uid: str and int or None, who he says that he is.
    """

    subject: str
    admin: bool = False
    label: str | None = None
    door: str = 'native'
    source: str | None = None
    request_id: str | None = None
    claimed_user: str | None = None
    claimed_uid: int | None = None


def create(
    services,
    requester,
    command,
    arguments,
    nodes,
    context=None,
    context_type=None,
    limit=None,
    stagger=None,
    timeout=None,
):
    """Have a command run, and return at once.

    :param services: :class:`obmd.api.operations.Services`.
    :param requester: :class:`Requester`.
    :param command: str, its name.  :param arguments: list of str.
    :param nodes: list of ``obmd.db.nodes.Node``, each once; None: the command has no nodes.
    :param context: str, the range as it was given.  :param context_type: ``nodes``, ``groups``.
    :param limit: int, runs at once.  :param stagger: seconds between two starts.
    :param timeout: seconds that a run may take.
    :returns: ``obmd.db.jobs.Job``.
    :raises NotFound: no such command.  :raises InvalidInput: naming what is wrong.
    :raises Unavailable: too many jobs are open, or the database is not there.
    :raises OutcomeUnknown: the database fell silent while it stored the job.
    """
    found = _command(command, nodes)
    _check_arguments(arguments)
    now = services.clock()
    job = jobs.Job(
        uuid=str(uuids.uuid4()),
        command=found.name,
        arguments=list(arguments),
        door=requester.door,
        context_type=None if nodes is None else context_type or 'nodes',
        context=context,
        subject=requester.subject,
        label=requester.label,
        claimed_user=requester.claimed_user,
        claimed_uid=requester.claimed_uid,
        source=requester.source,
        request_id=requester.request_id,
        run_limit=_limit(limit),
        stagger=_number('stagger', stagger, 0.0, 0.0, MOST_STAGGER),
        timeout=_number('timeout', timeout, CONF.actions.job_timeout, 0.001),
        output_limit=CONF.actions.output_limit,
        created_at=now,
        total=1 if nodes is None else len(nodes),
    )
    if jobs.count_open() >= CONF.actions.max_open_jobs:
        raise errors.Unavailable('too many jobs have not ended yet', retry_after=5)
    if nodes is None:
        rows = [runs.Run(job.uuid, 0)]
    else:
        rows = [runs.Run(job.uuid, n, node.uuid, node.name) for n, node in enumerate(nodes)]
    _store(job, rows, _audited(job, requester, nodes))
    services.conductor_api.job_changed(job)
    return job


def _store(job, rows, audited):
    try:
        jobs.create(job, rows, audited)
    except errors.Unavailable:
        # a commit may have been done of which no answer came
        if not _is_stored(job):
            raise


def _is_stored(job):
    try:
        return jobs.get(job.uuid) is not None
    except errors.Unavailable as error:
        raise errors.OutcomeUnknown(
            f'whether the job was started is not known; if it was, it is {job.uuid}: {error.reason}'
        ) from error


def _command(name, nodes):
    found = table.get(name)
    if found.has_context and not nodes:
        raise errors.InvalidInput(f'the command {name} runs on nodes: name some')
    if not found.has_context and nodes is not None:
        raise errors.InvalidInput(f'the command {name} runs on no nodes')
    return found


def _check_arguments(arguments):
    if not all(isinstance(one, str) for one in arguments):
        raise errors.InvalidInput('arguments must be texts')
    if any('\0' in one for one in arguments):
        raise errors.InvalidInput('an argument cannot hold NUL')
    try:
        size = sum(len(one.encode()) + 1 for one in arguments)
    except UnicodeEncodeError:
        raise errors.InvalidInput('an argument is not text') from None
    if size > MOST_ARGUMENTS:
        raise errors.InvalidInput(f'arguments are {MOST_ARGUMENTS} bytes at most, all together')


def _limit(limit):
    if limit is None:
        return CONF.actions.job_limit
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise errors.InvalidInput('limit must be a whole number, 1 or more')
    return min(limit, 4096)


def _number(name, value, default, least, most=math.inf):
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        upper = '' if most == math.inf else f' to {most:g}'
        raise errors.InvalidInput(f'{name} must be a number of seconds from {least:g}{upper}')
    # only an operator makes it longer
    return float(min(value, default)) if name == 'timeout' else float(value)


def _audited(job, requester, nodes):
    return audit.Entry(
        at=job.created_at,
        action=f'command {job.command}',
        subject=requester.subject,
        label=requester.label,
        claimed_user=requester.claimed_user,
        claimed_uid=requester.claimed_uid,
        source=requester.source,
        request_id=requester.request_id,
        door=requester.door,
        nodes=None if nodes is None else ranges.fold(node.name for node in nodes),
        job_uuid=job.uuid,
        outcome='accepted',
    )


def plan(services, command, nodes):
    """What :func:`create` would run where; nothing is run.

    :returns: list of dict: ``position``, ``node`` (name or None), ``rank``, ``executes``
        (``builtin`` or the script's file name), ``conductor`` (host), ``problem``: each str or
        None.
    :raises NotFound: no such command.  :raises InvalidInput: naming what is wrong.
    """
    found = _command(command, nodes)
    if nodes is None:
        return [_planned(0, None, found, (), _owner_of_new(services))]
    ranked = ranks.among(node.uuid for node in nodes) if found.scripts else {}
    return [
        _planned(n, node, found, ranked.get(node.uuid, ()), _owner_of(services, node))
        for n, node in enumerate(nodes)
    ]


def _planned(position, node, command, ranked, owner):
    choice = command.choose(ranked)
    host, problem = owner
    if choice.path is None and not command.builtin:
        problem = problem or 'no script fits the node'
    return {
        'position': position,
        'node': node.name if node is not None else None,
        'rank': choice.rank,
        'executes': choice.executes,
        'conductor': host,
        'problem': problem,
    }


def _owner_of(services, node):
    try:
        return services.router.owner_of(node).host, None
    except errors.Unavailable as error:
        return None, error.reason


def _owner_of_new(services):
    """A job without nodes runs at its owner: any conductor, by the job's id."""
    if services.router.living:
        one = services.router.rings.members(*ownership.EVERYBODY)
        hosts = [row.host for row in services.router.living if row.incarnation in one]
        return (hosts[0] if len(hosts) == 1 else None), None
    return None, 'no conductor lives'


def get(uuid, requester):
    """:returns: ``obmd.db.jobs.Job``.
    :raises NotFound: there is none, or it is not this requester's.
    """
    job = jobs.get(uuid)
    if job is None or not (requester.admin or job.subject == requester.subject):
        raise errors.NotFound('there is no such job')
    return job


def page(requester, state=None, after=None, limit=1000):
    """:returns: list of ``obmd.db.jobs.Job``, the requester's or, to an admin, all; newest first.

    :param after: uuid of the last one seen.
    :raises NotFound: there is no job ``after``.
    """
    return jobs.page(None if requester.admin else requester.subject, state, after, limit)


def runs_of(uuid, states=None, after=None, limit=None):
    """:returns: list of ``obmd.db.runs.Run`` by position."""
    return runs.of_job(uuid, states, after, limit)


def counts(uuid):
    """:returns: ``obmd.db.runs.Counts``."""
    return runs.counts(uuid)


def cancel(services, uuid, requester):
    """Have a job end: what runs is killed, what waits is not begun.

    :returns: ``obmd.db.jobs.Job`` as it is now: it ends soon, or has ended.
    :raises NotFound: see :func:`get`.
    """
    job = get(uuid, requester)
    if job.state == jobs.RUNNING and jobs.cancel(uuid, services.clock()):
        job = get(uuid, requester)
        services.conductor_api.job_changed(job)
    return job
