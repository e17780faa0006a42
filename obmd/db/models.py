"""The tables.  ``migrations/`` creates them; a test compares the two.

Wall times are seconds since the epoch, in UTC (float): what a person is shown.  No decision of
obmd compares two machines' clocks.
"""

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.dialects import mysql


class Exact(sa.TypeDecorator):
    """Up to 255 characters, equal only to the same bytes on every database.

    MySQL and MariaDB have no collation of one name that does so (``utf8mb4_bin`` ignores
    trailing spaces): there the column holds the UTF-8 itself.
    """

    impl = sa.String
    cache_ok = True
    #: of each database
    collations = {}

    def load_dialect_impl(self, dialect):
        if dialect.name == 'mysql':
            return dialect.type_descriptor(mysql.VARBINARY(255 * 4))
        collation = self.collations.get(dialect.name)
        return dialect.type_descriptor(sa.String(255, collation=collation))

    def process_bind_param(self, value, dialect):
        if value is not None and dialect.name == 'mysql':
            return value.encode()
        return value

    def process_result_value(self, value, dialect):
        return value.decode() if isinstance(value, bytes) else value


class Label(Exact):
    """A node's name: in the order of its bytes too."""

    cache_ok = True
    collations = {'postgresql': 'C', 'sqlite': 'BINARY'}


#: MySQL's TEXT ends at 64 KiB
_LONG = sa.Text().with_variant(mysql.MEDIUMTEXT(), 'mysql')


class Base(orm.DeclarativeBase):
    pass


class Node(Base):
    __tablename__ = 'nodes'
    __table_args__ = (
        sa.UniqueConstraint('uuid', name='uq_nodes_uuid'),
        sa.UniqueConstraint('name', name='uq_nodes_name'),
        sa.Index('ix_nodes_owner', 'owner'),
        # the nodes of a group that nobody owns
        sa.Index('ix_nodes_group_owner', 'conductor_group', 'owner'),
    )

    id = sa.Column(sa.Integer, primary_key=True, autoincrement=True)
    uuid = sa.Column(sa.String(36), nullable=False)
    name = sa.Column(Label, nullable=False)
    driver = sa.Column(sa.String(64), nullable=False)
    address = sa.Column(_LONG, nullable=False)
    sealed_info = sa.Column(_LONG, nullable=False)
    key_id = sa.Column(sa.String(32), nullable=False)
    conductor_group = sa.Column(Exact, nullable=False, default='')
    owner = sa.Column(sa.String(32))
    owner_epoch = sa.Column(sa.Integer, nullable=False, default=0)
    token_hash = sa.Column(sa.String(64))
    token_id = sa.Column(sa.String(32))
    token_issued_at = sa.Column(sa.Double)
    credentials_refused = sa.Column(_LONG)
    credentials_refused_at = sa.Column(sa.Double)
    sol_holder = sa.Column(sa.String(255))
    target_power_state = sa.Column(sa.String(16))
    target_until = sa.Column(sa.Double)
    target_reason = sa.Column(_LONG)
    target_call_id = sa.Column(sa.String(64))
    last_error = sa.Column(_LONG)
    lock_purpose = sa.Column(sa.String(255))
    lock_caller = sa.Column(sa.String(255))
    lock_since = sa.Column(sa.Double)
    created_at = sa.Column(sa.Double, nullable=False)
    updated_at = sa.Column(sa.Double, nullable=False)


class Port(Base):
    """A network interface of a node; no two nodes have the same."""

    __tablename__ = 'ports'
    __table_args__ = (sa.Index('ix_ports_node_uuid', 'node_uuid'),)

    #: lower case, with colons
    mac = sa.Column(sa.String(17), primary_key=True)
    node_uuid = sa.Column(sa.String(36), nullable=False)


class Description(Base):
    """What operators say about a node; beside ``nodes``, whose rows each request reads."""

    __tablename__ = 'descriptions'

    node_uuid = sa.Column(sa.String(36), primary_key=True)
    properties = sa.Column(sa.JSON, nullable=False, default=dict)
    extra = sa.Column(sa.JSON, nullable=False, default=dict)
    #: what may be shown of it
    instance_info = sa.Column(sa.JSON, nullable=False, default=dict)
    #: the whole of it, if something may not be shown
    sealed_instance_info = sa.Column(_LONG)
    key_id = sa.Column(sa.String(32))


class Agent(Base):
    """The ramdisk's agent on a node: whether one is expected, and what it said."""

    __tablename__ = 'agents'

    node_uuid = sa.Column(sa.String(36), primary_key=True)
    expect_until = sa.Column(sa.Double)
    token_hash = sa.Column(sa.String(64))
    token_issued_at = sa.Column(sa.Double)
    generation = sa.Column(sa.Integer, nullable=False, default=0)
    url = sa.Column(_LONG)
    version = sa.Column(_LONG)
    verify_ca = sa.Column(_LONG)
    status = sa.Column(_LONG)
    status_message = sa.Column(_LONG)
    heartbeat_at = sa.Column(sa.Double)


class Conductor(Base):
    __tablename__ = 'conductors'

    incarnation = sa.Column(sa.String(32), primary_key=True)
    host = sa.Column(Exact, nullable=False)
    conductor_group = sa.Column(Exact, nullable=False, default='')
    drivers = sa.Column(sa.JSON, nullable=False)
    callback_url = sa.Column(sa.String(255), nullable=False)
    state = sa.Column(sa.String(8), nullable=False)
    beat = sa.Column(sa.BigInteger, nullable=False)
    kind = sa.Column(sa.String(16), nullable=False)
    key_ids = sa.Column(sa.JSON, nullable=False)
    version = sa.Column(sa.String(64), nullable=False)
    started_at = sa.Column(sa.Double, nullable=False)
    home = sa.Column(sa.String(32), nullable=False, default='')
    drained = sa.Column(sa.Boolean, nullable=False, default=False)
