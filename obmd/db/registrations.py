"""A node with all that stands beside it, registered or changed in one transaction or not at all.

Every function raises :class:`obmd.common.errors.Unavailable` when the database is not there.
"""

import dataclasses
import time
import typing

import sqlalchemy as sa
from oslo_db import exception as db_exc

from obmd.common import errors
from obmd.db import agents
from obmd.db import descriptions
from obmd.db import engine
from obmd.db import models
from obmd.db import nodes
from obmd.db import ranks

_TABLE = models.Node.__table__


class Obm(typing.NamedTuple):
    """How a node's BMC is reached; see ``nodes``."""

    driver: str
    address: str
    sealed_info: str
    key_id: str


@dataclasses.dataclass(frozen=True)
class Beside:
    """What else is said about a node; None: as it is.

    :ivar columns: dict of columns of ``descriptions``.
    :ivar ports: MAC addresses in lower case with colons.
    :ivar ranks: list of str, each once.
    :ivar expect_until: an agent is expected until this wall time; 0: none is.
    """

    columns: dict | None = None
    ports: list | None = None
    ranks: list | None = None
    expect_until: float | None = None


NOTHING = Beside()


def create(name, obm, conductor_group, uuid, beside=NOTHING, clock=time.time):
    """Register a node.  :returns: :class:`obmd.db.nodes.Node`, as :func:`obmd.db.nodes.create`.

    :raises NodeExists: the name is taken.
    :raises InvalidInput: the name cannot be stored.
    :raises MacTaken: a port is another node's; names both.
    """

    def write(session):
        _write_beside(session, uuid, beside)

    return nodes.create(name, *obm, conductor_group, uuid, clock, write)


@engine.retried_if_undone
def change(uuid, obm=None, conductor_group=None, beside=NOTHING, clock=time.time):
    """Change a node in place.

    What changes how its BMC is reached raises the node's epoch: who holds the node lets go of it,
    or takes the new account over.  Another driver or conductor group may want another owner.

    :param obm: :class:`Obm`, or None: as it is.
    :returns: :class:`obmd.db.nodes.Node` as it is now.
    :raises NotFound: there is no such node (any more).
    :raises MacTaken: a port is another node's; names both.
    """
    try:
        with engine.writer() as session:
            if not nodes.hold(session, uuid, clock):
                raise errors.NotFound('there is no such node')
            now = nodes.in_session(session, uuid)
            values = _moved(now, obm, conductor_group)
            if values:
                session.execute(sa.update(_TABLE).where(_TABLE.c.uuid == uuid).values(values))
            _write_beside(session, uuid, beside)
            return nodes.in_session(session, uuid)
    except db_exc.DBDuplicateEntry:
        raise errors.Unavailable('the ports of nodes change just now', retry_after=1) from None


def _moved(now, obm, conductor_group):
    """:returns: dict of columns to change."""
    values = {}
    if conductor_group is not None and conductor_group != now.conductor_group:
        values |= {'conductor_group': conductor_group, 'owner': None}
    if obm is not None:
        values |= obm._asdict()
        values |= {'credentials_refused': None, 'credentials_refused_at': None}
        if obm.driver != now.driver:
            values['owner'] = None
        if (obm.driver, obm.address) != (now.driver, now.address):
            # of the BMC that it had
            values |= {'sol_holder': None, 'target_power_state': None, 'target_until': None}
            values |= {'target_reason': None, 'target_call_id': None}
    if values:
        values['owner_epoch'] = _TABLE.c.owner_epoch + 1
        values |= {'lock_purpose': None, 'lock_caller': None, 'lock_since': None}
    return values


def _write_beside(session, uuid, beside):
    if beside.columns:
        descriptions.put(session, uuid, beside.columns)
    if beside.ports is not None:
        descriptions.put_ports(session, uuid, set(beside.ports))
    if beside.ranks is not None:
        ranks.replace(session, uuid, beside.ranks)
    if beside.expect_until is not None:
        agents.expect_in(session, uuid, beside.expect_until or None)
