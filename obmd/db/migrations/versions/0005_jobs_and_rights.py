"""Jobs over many nodes, what they are named by, who may, and who did."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from obmd.db.migrations import steps

revision = '0005'
down_revision = '0004'


#: on MySQL: its TEXT ends at 64 KiB, and names are told apart by their bytes
_LONG = sa.Text().with_variant(mysql.MEDIUMTEXT(), 'mysql')
_EXACT = sa.String(255).with_variant(mysql.VARBINARY(1020), 'mysql')
_TABLE = {
    'mysql_engine': 'InnoDB',
    'mysql_charset': 'utf8mb4',
    'mysql_collate': 'utf8mb4_bin',
    'mysql_row_format': 'DYNAMIC',
}


def _label():
    collation = {'postgresql': 'C', 'sqlite': 'BINARY'}.get(op.get_bind().dialect.name)
    return sa.String(255, collation=collation).with_variant(mysql.VARBINARY(1020), 'mysql')


def upgrade():
    # an API of an earlier version writes rows without it
    steps.add_column('descriptions', sa.Column('parameters', sa.JSON))
    steps.create_table(
        'node_ranks',
        sa.Column('node_uuid', sa.String(36), primary_key=True),
        sa.Column('position', sa.Integer, primary_key=True, autoincrement=False),
        sa.Column('rank', _label(), nullable=False),
        **_TABLE,
    )
    steps.create_index('ix_node_ranks_rank', 'node_ranks', ['rank'])
    steps.create_table(
        'node_groups',
        sa.Column('name', _label(), primary_key=True),
        sa.Column('nodes', _LONG, nullable=False),
        sa.Column('updated_at', sa.Double, nullable=False),
        **_TABLE,
    )
    _jobs()
    _rights()


def _jobs():
    steps.create_table(
        'jobs',
        sa.Column('uuid', sa.String(36), primary_key=True),
        sa.Column('command', _EXACT, nullable=False),
        sa.Column('arguments', sa.JSON, nullable=False),
        sa.Column('door', sa.String(16), nullable=False),
        sa.Column('context_type', sa.String(16)),
        sa.Column('context', _LONG),
        sa.Column('subject', _EXACT, nullable=False),
        sa.Column('label', _EXACT),
        sa.Column('claimed_user', _EXACT),
        sa.Column('claimed_uid', sa.BigInteger),
        sa.Column('source', _EXACT),
        sa.Column('request_id', sa.String(64)),
        sa.Column('run_limit', sa.Integer, nullable=False),
        sa.Column('stagger', sa.Double, nullable=False),
        sa.Column('timeout', sa.Double, nullable=False),
        sa.Column('output_limit', sa.BigInteger, nullable=False),
        sa.Column('state', sa.String(8), nullable=False),
        sa.Column('cancelled_at', sa.Double),
        sa.Column('created_at', sa.Double, nullable=False),
        sa.Column('ended_at', sa.Double),
        sa.Column('status', sa.Integer),
        sa.Column('total', sa.Integer, nullable=False),
        sa.Column('owner', sa.String(32)),
        sa.Column('owner_epoch', sa.Integer, nullable=False),
        **_TABLE,
    )
    steps.create_index('ix_jobs_state_owner', 'jobs', ['state', 'owner'])
    steps.create_index('ix_jobs_created_at', 'jobs', ['created_at', 'uuid'])
    steps.create_index('ix_jobs_ended_at', 'jobs', ['ended_at'])
    steps.create_table(
        'job_runs',
        sa.Column('job_uuid', sa.String(36), primary_key=True),
        sa.Column('position', sa.Integer, primary_key=True, autoincrement=False),
        sa.Column('node_uuid', sa.String(36)),
        sa.Column('node_name', _label()),
        sa.Column('state', sa.String(8), nullable=False),
        sa.Column('outcome', sa.String(16)),
        sa.Column('status', sa.Integer),
        sa.Column('reason', _LONG),
        sa.Column('runner', sa.String(32)),
        sa.Column('started_at', sa.Double),
        sa.Column('ended_at', sa.Double),
        sa.Column('output_bytes', sa.BigInteger, nullable=False),
        **_TABLE,
    )
    steps.create_index('ix_job_runs_runner_state', 'job_runs', ['runner', 'state'])


def _rights():
    steps.create_table(
        'access_tokens',
        sa.Column('jti', sa.String(36), primary_key=True),
        sa.Column('label', _EXACT),
        sa.Column('commands', sa.JSON),
        sa.Column('nodes', _LONG),
        sa.Column('operations', sa.JSON),
        sa.Column('issued_at', sa.Double, nullable=False),
        sa.Column('expires_at', sa.Double, nullable=False),
        sa.Column('revoked_at', sa.Double),
        **_TABLE,
    )
    steps.create_table(
        'audit',
        sa.Column(
            'id',
            sa.BigInteger().with_variant(sa.Integer, 'sqlite'),
            primary_key=True,
            autoincrement=True,
        ),
        sa.Column('at', sa.Double, nullable=False),
        sa.Column('subject', _EXACT),
        sa.Column('label', _EXACT),
        sa.Column('claimed_user', _EXACT),
        sa.Column('claimed_uid', sa.BigInteger),
        sa.Column('source', _EXACT),
        sa.Column('request_id', sa.String(64)),
        sa.Column('door', sa.String(16)),
        sa.Column('action', _EXACT, nullable=False),
        sa.Column('nodes', _LONG),
        sa.Column('job_uuid', sa.String(36)),
        sa.Column('outcome', _EXACT),
        sa.Column('detail', _LONG),
        **_TABLE,
    )
    steps.create_index('ix_audit_at', 'audit', ['at'])
    steps.create_index('ix_audit_job_uuid', 'audit', ['job_uuid'])
