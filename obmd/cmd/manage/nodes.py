"""``obmd-manage node ...``"""

import time

from obmd.cmd.manage import base
from obmd.common import errors
from obmd.conductor import console
from obmd.conductor import ownership
from obmd.conf import CONF
from obmd.db import agents
from obmd.db import conductors
from obmd.db import descriptions
from obmd.db import nodes
from obmd.db import ranks


class _OneNode(base.Configured):
    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        parser.add_argument('node', metavar='NODE', help='Name or uuid of the node.')
        return parser


def _find(ident):
    base.open_database()
    node = nodes.get_by_ident(ident)
    if node is None:
        raise errors.NotFound(f'there is no node "{base.printable(ident)}"', node=ident)
    return node


class NodeRetry(_OneNode, base.Command):
    """Let obmd try a node's credentials again after its BMC has refused them.

    obmd stops at the first refusal, because a BMC may lock the account out. Use this when the
    password was changed at the BMC to what obmd has; otherwise register the node anew.
    """

    def take_action(self, parsed_args):
        nodes.retry_credentials(_find(parsed_args.node).name)


class NodeList(base.Lister):
    """List the nodes: where their BMCs are, who owns them, what is wrong."""

    def take_action(self, parsed_args):
        base.open_database()
        rows = {one.incarnation: one for one in conductors.all()}
        rings = ownership.Rings(rows.values(), CONF.conductor.ring_partitions)
        columns = ('Name', 'Type', 'Address', 'Group', 'Owner', 'Token', 'Problem')
        return columns, (self._row(node, rows, rings) for node in base.every_node())

    @staticmethod
    def _row(node, rows, rings):
        owner = rows.get(node.owner)
        lost = (owner is None or owner.state not in conductors.ALIVE) and _heirless(
            node, rows, rings
        )
        row = (
            node.name,
            node.driver,
            node.address,
            node.conductor_group,
            owner.host if owner else node.owner,
            'yes' if node.token_id else 'no',
            node.credentials_refused or lost or node.last_error,
        )
        return tuple(base.printable(value) for value in row)


class NodeShow(_OneNode, base.ShowOne):
    """Show what the database has of a node, without its secrets."""

    def take_action(self, parsed_args):
        node = _find(parsed_args.node)
        shown = {
            'name': node.name,
            'uuid': node.uuid,
            'type': node.driver,
            'address': node.address,
            'group': node.conductor_group,
            'owner': node.owner,
            'owner_epoch': node.owner_epoch,
            'key_id': node.key_id,
            'token_issued_at': base.when(node.token_issued_at),
            'credentials_refused': node.credentials_refused,
            'credentials_refused_at': base.when(node.credentials_refused_at),
            'sol_holder': node.sol_holder,
            'lock_purpose': node.lock_purpose,
            'lock_caller': node.lock_caller,
            'lock_since': base.when(node.lock_since),
            'target_power_state': node.target_power_state,
            'target_until': base.when(node.target_until),
            'target_reason': node.target_reason,
            'last_error': node.last_error,
            'created_at': base.when(node.created_at),
            'updated_at': base.when(node.updated_at),
            'ranks': ' '.join(ranks.get(node.uuid)),
            'ports': ' '.join(descriptions.get(node.uuid).ports),
            **_agent(agents.get(node.uuid)),
        }
        return tuple(shown), tuple(base.printable(value) for value in shown.values())


def _agent(agent):
    return {
        'expect_agent': 'yes' if agent.is_expected(time.time()) else 'no',
        'expect_agent_until': base.when(agent.expect_until),
        'agent_token_issued_at': base.when(agent.token_issued_at),
        'agent_url': agent.url,
        'agent_version': agent.version,
        'agent_status': agent.status,
        'agent_status_message': agent.status_message,
        'agent_last_heartbeat': base.when(agent.heartbeat_at),
    }


class NodeOwner(_OneNode, base.ShowOne):
    """Show who owns a node, who should, and what runs on it.

    The owner is in the node's row, the one that should own it is whom the hash ring gives it to.
    They differ while a hand-over is under way.
    """

    def take_action(self, parsed_args):
        node = _find(parsed_args.node)
        rows = {row.incarnation: row for row in conductors.all()}
        shown = {
            'name': node.name,
            'uuid': node.uuid,
            'type': node.driver,
            'group': node.conductor_group,
            **_owner(node, rows),
            'should_own': _should_own(node, rows),
            'sol': _sol(node, rows),
            'running': node.lock_purpose,
            'running_for': node.lock_caller,
            'running_since': base.when(node.lock_since),
            'target_power_state': node.target_power_state,
            'target_until': base.when(node.target_until),
            'target_reason': node.target_reason,
            'last_error': node.last_error,
            'credentials_refused': node.credentials_refused,
            'credentials_refused_at': base.when(node.credentials_refused_at),
        }
        return tuple(shown), tuple(base.printable(value) for value in shown.values())


def _owner(node, rows):
    row = rows.get(node.owner)
    if node.owner is None:
        host, state = '', 'nobody owns it'
    elif row is None:
        host, state = '', 'its row is gone'
    else:
        host, state = row.host, f'{row.state}, drained' if row.drained else row.state
    return {
        'owner': host,
        'owner_state': state,
        'owner_incarnation': node.owner,
        'owner_epoch': node.owner_epoch,
    }


def _should_own(node, rows):
    rings = ownership.Rings(rows.values(), CONF.conductor.ring_partitions)
    return _heirless(node, rows, rings) or rows[rings.propose(node)].host


def _heirless(node, rows, rings):
    """:returns: str, why no conductor should own the node, or None: one should."""
    if rings.propose(node) is not None:
        return None
    living = [row for row in rows.values() if row.state in conductors.ALIVE]
    return ownership.why_nobody(node.conductor_group, node.driver, living)


def _sol(node, rows):
    """Who holds the BMC's SOL session, as the row says."""
    holder, _, address = (node.sol_holder or '').partition(' ')
    if not address:
        return {'': 'nobody', 'foreign': 'somebody else'}.get(holder, holder)
    if holder == node.owner:
        return (
            f'its owner, from {address}'
            if console.is_up(node.sol_holder)
            else 'its owner asked for it'
        )
    former = rows[holder].host if holder in rows else holder
    return f'a former owner, {former}, from {address}'
