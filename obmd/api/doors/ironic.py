"""The Ironic door: how ironic-python-agent finds its node and reports in.

Both endpoints are open to callers without credentials, so each refusal that such a caller may not
tell from another has one text, and the same reads of the database behind it.
"""

import logging
import secrets as random

from obmd.api import http
from obmd.api import operations
from obmd.api import policy
from obmd.api.ramdisk import answers
from obmd.api.ramdisk import arguments
from obmd.api.ramdisk import envelope
from obmd.api.ramdisk import versions
from obmd.common import deadline
from obmd.common import errors
from obmd.common import secrets
from obmd.conf import CONF
from obmd.db import agents
from obmd.db import descriptions

LOG = logging.getLogger(__name__)

#: seconds that a request waits for a conductor; an agent asks again by itself
PATIENCE = 10.0
#: bytes of an agent's token before they are text
TOKEN_BYTES = 32
#: in the place of a node that is not there
NOBODY = (None, agents.Agent())


def root(request, services):
    """``GET /``: which versions there are."""
    return _json(request, answers.root(_base(request)))


def first(request, services):
    """``GET /v1``: what there is in it."""
    versions.asked(request.environ)
    offered = ('lookup', 'heartbeat') if CONF.agent.enable_ramdisk_endpoints else ()
    return _json(request, answers.first(_base(request), offered))


def _base(request):
    return request.application_url.rstrip('/')


def _json(request, document):
    answer = http.json_response(document)
    answer.headers.update(versions.headers(request.environ))
    return answer


def _admit(request, services, rule, target):
    """What both endpoints ask before anything is looked up.  :returns: int, the version."""
    services.rates.take(request)
    if not CONF.agent.enable_ramdisk_endpoints:
        raise errors.NotFound('there is no such page')
    minor = versions.require(request.environ, versions.RAMDISK)
    services.policy.require(rule, request, services.admin_hash, target)
    return minor


# -- lookup -----------------------------------------------------------------------------------


def lookup(request, services):
    """``GET /v1/lookup?addresses=MAC,MAC&node_uuid=UUID``."""
    minor = _admit(request, services, policy.LOOKUP, {})
    services.rates.take_size(request, len(request.query_string))
    asked = arguments.lookup(request)
    services.rates.take_node(request, *asked.keys)
    with services.room:
        node, agent = _find(asked)
    if node is None or (CONF.api.restrict_lookup and not agent.is_expected(services.clock())):
        raise errors.NotFound(envelope.NOT_FOUND)
    issued = agent.token_hash is not None
    if not issued and node.lock_purpose is not None:
        raise errors.NodeBusy(f'Node {node.uuid} is busy, its agent gets no token now; ask again')
    description = descriptions.get_without_ports(node.uuid)
    first_time = not issued and minor >= versions.TOKEN
    # before the token is given away: a conductor that is not there must not cost it
    drive = _configdrive(services, node, description, first_time)
    token = _issue(request, services, node, agent) if first_time else None
    # what may be shown of it: it was masked once, when it was said, for that takes long
    instance_info = dict(description.instance_info)
    if drive is not None and (token is not None or CONF.agent.lookup_configdrive == 'always'):
        instance_info['configdrive'] = drive
    shown = answers.MASK if token is None and (issued or first_time) else token
    return _json(
        request,
        answers.lookup(_base(request), node.uuid, description.properties, instance_info, shown),
    )


def _find(asked):
    """One read of the database, whatever there is.  :returns: (Node or None, its Agent)."""
    if asked.node_uuid:
        found = agents.find_by_uuid(asked.node_uuid)
    else:
        found = agents.find(asked.addresses)
    return found[0] if len(found) == 1 else NOBODY


def _configdrive(services, node, description, first_time):
    """:returns: the node's configdrive if this answer may tell it, else None."""
    when = CONF.agent.lookup_configdrive
    if not (when == 'always' or (when == 'first' and first_time)):
        return None
    if description.instance_info.get('configdrive') != answers.MASK:
        return None
    return _call(services.conductor_api.open_configdrive, node)


def _issue(request, services, node, agent):
    """:returns: str, the token; None: another lookup in this moment got it.

    :raises NodeBusy: nobody got it: what is expected of the node has changed meanwhile.
    """
    token = random.token_urlsafe(TOKEN_BYTES)
    token_hash = secrets.token_hash(token)
    try:
        issued = agents.issue_token(node.uuid, token_hash, agent.generation, services.clock)
    except errors.Unavailable:
        # The answer may have been lost after the commit: then nobody else gets a token any more.
        issued = agents.get(node.uuid).token_hash == token_hash
        if not issued:
            raise
    if not issued:
        if agents.get(node.uuid).token_hash is None:
            raise errors.NodeBusy(f'Node {node.uuid} begins anew; ask again')
        return None
    LOG.info('%s got the agent token of node %s', request.environ.get('REMOTE_ADDR'), node.uuid)
    return token


# -- heartbeat --------------------------------------------------------------------------------


def heartbeat(request, services):
    """``POST /v1/heartbeat/{id}``: 202 without a body once the node's conductor has taken it."""
    name = request.environ['obmd.variables']['id']
    minor = _admit(request, services, policy.HEARTBEAT, {'node_ident': name})
    ident = request.label
    if ident is None or '/' in ident:
        raise _no_node(name)
    # a uuid is found in either case
    services.rates.take_node(request, ident.lower() if arguments.UUID.fullmatch(ident) else ident)
    body = request.read_body()
    services.rates.take_size(request, len(request.query_string) + len(body))
    given = arguments.heartbeat(request, body, minor)
    with services.room:
        node, agent = next(iter(agents.find_by_ident(ident)), NOBODY)
    token = given.get('agent_token')
    right = secrets.matches(token or '', agent.token_hash)
    if node is None:
        raise _no_node(name)
    if not token:
        raise errors.InvalidInput('Agent token is required for heartbeat processing.')
    if not right:
        raise errors.InvalidInput('Invalid or missing agent token received.')
    beat = {'token_hash': agent.token_hash, **arguments.beat(given)}
    try:
        _call(services.conductor_api.agent_heartbeat, node, beat)
    except errors.NotFound:
        raise _no_node(name) from None  # deleted meanwhile
    return http.Response(status=202, headers=versions.headers(request.environ))


def _no_node(name):
    """:param name: str, as the path has it, each character one byte."""
    shown = name.encode('latin-1', 'replace').decode('utf-8', 'replace')[:255]
    return envelope.NodeNotFound(f'Node {shown} could not be found.')


def _call(method, node, *args):
    """Call the node's owner; both calls may be repeated without harm, as reads are."""
    within = deadline.Deadline(min(PATIENCE, CONF.api.call_timeout))
    return operations.call(method, node, *args, deadline=within, by_token=False, read=True)
