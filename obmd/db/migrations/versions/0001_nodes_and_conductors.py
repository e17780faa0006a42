"""Nodes and conductors."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = '0001'
down_revision = None


def _label():
    """A name compared as bytes: MySQL's collations ignore trailing spaces, so bytes there."""
    dialect = op.get_bind().dialect.name
    if dialect in ('mysql', 'mariadb'):
        return mysql.VARBINARY(1020)
    return sa.String(255, collation={'postgresql': 'C', 'sqlite': 'BINARY'}[dialect])


def upgrade():
    op.create_table(
        'nodes',
        sa.Column('id', sa.Integer, primary_key=True, autoincrement=True),
        sa.Column('uuid', sa.String(36), nullable=False),
        sa.Column('name', _label(), nullable=False),
        sa.Column('driver', sa.String(64), nullable=False),
        sa.Column('address', sa.Text, nullable=False),
        sa.Column('sealed_info', sa.Text, nullable=False),
        sa.Column('key_id', sa.String(32), nullable=False),
        sa.Column('conductor_group', sa.String(255), nullable=False),
        sa.Column('owner', sa.String(32)),
        sa.Column('owner_epoch', sa.Integer, nullable=False),
        sa.Column('token_hash', sa.String(64)),
        sa.Column('token_id', sa.String(32)),
        sa.Column('token_issued_at', sa.Double),
        sa.Column('credentials_refused', sa.Text),
        sa.Column('credentials_refused_at', sa.Double),
        sa.Column('sol_holder', sa.String(255)),
        sa.Column('target_power_state', sa.String(16)),
        sa.Column('target_until', sa.Double),
        sa.Column('target_reason', sa.Text),
        sa.Column('target_call_id', sa.String(64)),
        sa.Column('last_error', sa.Text),
        sa.Column('created_at', sa.Double, nullable=False),
        sa.Column('updated_at', sa.Double, nullable=False),
        sa.UniqueConstraint('uuid', name='uq_nodes_uuid'),
        sa.UniqueConstraint('name', name='uq_nodes_name'),
        mysql_charset='utf8mb4',
        mysql_engine='InnoDB',
    )
    op.create_index('ix_nodes_owner', 'nodes', ['owner'])
    op.create_index('ix_nodes_group_owner', 'nodes', ['conductor_group', 'owner'])
    op.create_table(
        'conductors',
        sa.Column('incarnation', sa.String(32), primary_key=True),
        sa.Column('host', sa.String(255), nullable=False),
        sa.Column('conductor_group', sa.String(255), nullable=False),
        sa.Column('drivers', sa.JSON, nullable=False),
        sa.Column('callback_url', sa.String(255), nullable=False),
        sa.Column('state', sa.String(8), nullable=False),
        sa.Column('beat', sa.BigInteger, nullable=False),
        sa.Column('kind', sa.String(16), nullable=False),
        sa.Column('key_ids', sa.JSON, nullable=False),
        sa.Column('version', sa.String(64), nullable=False),
        sa.Column('started_at', sa.Double, nullable=False),
        mysql_charset='utf8mb4',
        mysql_engine='InnoDB',
    )
