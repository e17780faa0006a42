"""Nodes and conductors."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from obmd.db.migrations import steps

revision = '0001'
down_revision = None


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
    steps.create_table(
        'nodes',
        sa.Column('id', sa.Integer, primary_key=True, autoincrement=True),
        sa.Column('uuid', sa.String(36), nullable=False),
        sa.Column('name', _label(), nullable=False),
        sa.Column('driver', sa.String(64), nullable=False),
        sa.Column('address', _LONG, nullable=False),
        sa.Column('sealed_info', _LONG, nullable=False),
        sa.Column('key_id', sa.String(32), nullable=False),
        sa.Column('conductor_group', _EXACT, nullable=False),
        sa.Column('owner', sa.String(32)),
        sa.Column('owner_epoch', sa.Integer, nullable=False),
        sa.Column('token_hash', sa.String(64)),
        sa.Column('token_id', sa.String(32)),
        sa.Column('token_issued_at', sa.Double),
        sa.Column('credentials_refused', _LONG),
        sa.Column('credentials_refused_at', sa.Double),
        sa.Column('sol_holder', sa.String(255)),
        sa.Column('target_power_state', sa.String(16)),
        sa.Column('target_until', sa.Double),
        sa.Column('target_reason', _LONG),
        sa.Column('target_call_id', sa.String(64)),
        sa.Column('last_error', _LONG),
        sa.Column('created_at', sa.Double, nullable=False),
        sa.Column('updated_at', sa.Double, nullable=False),
        sa.UniqueConstraint('uuid', name='uq_nodes_uuid'),
        sa.UniqueConstraint('name', name='uq_nodes_name'),
        **_TABLE,
    )
    steps.create_index('ix_nodes_owner', 'nodes', ['owner'])
    steps.create_index('ix_nodes_group_owner', 'nodes', ['conductor_group', 'owner'])
    steps.create_table(
        'conductors',
        sa.Column('incarnation', sa.String(32), primary_key=True),
        sa.Column('host', _EXACT, nullable=False),
        sa.Column('conductor_group', _EXACT, nullable=False),
        sa.Column('drivers', sa.JSON, nullable=False),
        sa.Column('callback_url', sa.String(255), nullable=False),
        sa.Column('state', sa.String(8), nullable=False),
        sa.Column('beat', sa.BigInteger, nullable=False),
        sa.Column('kind', sa.String(16), nullable=False),
        sa.Column('key_ids', sa.JSON, nullable=False),
        sa.Column('version', sa.String(64), nullable=False),
        sa.Column('started_at', sa.Double, nullable=False),
        **_TABLE,
    )
