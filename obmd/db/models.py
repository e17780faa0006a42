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
    #: what scripts are given; None: nothing
    parameters = sa.Column(sa.JSON(none_as_null=True))


class NodeRank(Base):
    """What a node is, from the most to the least special."""

    __tablename__ = 'node_ranks'
    __table_args__ = (sa.Index('ix_node_ranks_rank', 'rank'),)

    node_uuid = sa.Column(sa.String(36), primary_key=True)
    position = sa.Column(sa.Integer, primary_key=True, autoincrement=False)
    rank = sa.Column(Label, nullable=False)


class NodeGroup(Base):
    """A name that an operator gave to a range of nodes."""

    __tablename__ = 'node_groups'

    name = sa.Column(Label, primary_key=True)
    nodes = sa.Column(_LONG, nullable=False)
    updated_at = sa.Column(sa.Double, nullable=False)


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


class Job(Base):
    """One command over many nodes, or over none; see ``jobs.Job``."""

    __tablename__ = 'jobs'
    __table_args__ = (
        sa.Index('ix_jobs_state_owner', 'state', 'owner'),
        sa.Index('ix_jobs_created_at', 'created_at', 'uuid'),
        sa.Index('ix_jobs_ended_at', 'ended_at'),
    )

    uuid = sa.Column(sa.String(36), primary_key=True)
    command = sa.Column(Exact, nullable=False)
    arguments = sa.Column(sa.JSON, nullable=False)
    door = sa.Column(sa.String(16), nullable=False)
    context_type = sa.Column(sa.String(16))
    context = sa.Column(_LONG)
    subject = sa.Column(Exact, nullable=False)
    label = sa.Column(Exact)
    claimed_user = sa.Column(Exact)
    claimed_uid = sa.Column(sa.BigInteger)
    source = sa.Column(Exact)
    request_id = sa.Column(sa.String(64))
    run_limit = sa.Column(sa.Integer, nullable=False)
    stagger = sa.Column(sa.Double, nullable=False)
    timeout = sa.Column(sa.Double, nullable=False)
    output_limit = sa.Column(sa.BigInteger, nullable=False)
    state = sa.Column(sa.String(8), nullable=False)
    cancelled_at = sa.Column(sa.Double)
    created_at = sa.Column(sa.Double, nullable=False)
    ended_at = sa.Column(sa.Double)
    status = sa.Column(sa.Integer)
    total = sa.Column(sa.Integer, nullable=False)
    owner = sa.Column(sa.String(32))
    owner_epoch = sa.Column(sa.Integer, nullable=False, default=0)


class JobRun(Base):
    """A job on one node; see ``jobs.Run``."""

    __tablename__ = 'job_runs'
    __table_args__ = (sa.Index('ix_job_runs_runner_state', 'runner', 'state'),)

    job_uuid = sa.Column(sa.String(36), primary_key=True)
    position = sa.Column(sa.Integer, primary_key=True, autoincrement=False)
    node_uuid = sa.Column(sa.String(36))
    node_name = sa.Column(Label)
    state = sa.Column(sa.String(8), nullable=False)
    outcome = sa.Column(sa.String(16))
    status = sa.Column(sa.Integer)
    reason = sa.Column(_LONG)
    runner = sa.Column(sa.String(32))
    started_at = sa.Column(sa.Double)
    ended_at = sa.Column(sa.Double)
    output_bytes = sa.Column(sa.BigInteger, nullable=False, default=0)


class AccessToken(Base):
    """A bearer token that was issued: not the token itself."""

    __tablename__ = 'access_tokens'

    jti = sa.Column(sa.String(36), primary_key=True)
    label = sa.Column(Exact)
    commands = sa.Column(sa.JSON(none_as_null=True))
    nodes = sa.Column(_LONG)
    operations = sa.Column(sa.JSON(none_as_null=True))
    issued_at = sa.Column(sa.Double, nullable=False)
    expires_at = sa.Column(sa.Double, nullable=False)
    revoked_at = sa.Column(sa.Double)


class AuditEntry(Base):
    """Who did what to which nodes, from where, with which result: added to, never changed."""

    __tablename__ = 'audit'
    __table_args__ = (
        sa.Index('ix_audit_at', 'at'),
        sa.Index('ix_audit_job_uuid', 'job_uuid'),
    )

    id = sa.Column(
        sa.BigInteger().with_variant(sa.Integer, 'sqlite'), primary_key=True, autoincrement=True
    )
    at = sa.Column(sa.Double, nullable=False)
    subject = sa.Column(Exact)
    label = sa.Column(Exact)
    claimed_user = sa.Column(Exact)
    claimed_uid = sa.Column(sa.BigInteger)
    source = sa.Column(Exact)
    request_id = sa.Column(sa.String(64))
    door = sa.Column(sa.String(16))
    action = sa.Column(Exact, nullable=False)
    nodes = sa.Column(_LONG)
    job_uuid = sa.Column(sa.String(36))
    outcome = sa.Column(Exact)
    detail = sa.Column(_LONG)
