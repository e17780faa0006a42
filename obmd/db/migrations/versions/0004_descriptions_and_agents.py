"""What operators say about nodes, and the agents that run on them."""

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from obmd.db.migrations import steps

revision = '0004'
down_revision = '0003'


#: on MySQL: its TEXT ends at 64 KiB
_LONG = sa.Text().with_variant(mysql.MEDIUMTEXT(), 'mysql')
_TABLE = {
    'mysql_engine': 'InnoDB',
    'mysql_charset': 'utf8mb4',
    'mysql_collate': 'utf8mb4_bin',
    'mysql_row_format': 'DYNAMIC',
}


def upgrade():
    steps.create_table(
        'ports',
        sa.Column('mac', sa.String(17), primary_key=True),
        sa.Column('node_uuid', sa.String(36), nullable=False),
        **_TABLE,
    )
    steps.create_index('ix_ports_node_uuid', 'ports', ['node_uuid'])
    steps.create_table(
        'descriptions',
        sa.Column('node_uuid', sa.String(36), primary_key=True),
        sa.Column('properties', sa.JSON, nullable=False),
        sa.Column('extra', sa.JSON, nullable=False),
        sa.Column('instance_info', sa.JSON, nullable=False),
        sa.Column('sealed_instance_info', _LONG),
        sa.Column('key_id', sa.String(32)),
        **_TABLE,
    )
    steps.create_table(
        'agents',
        sa.Column('node_uuid', sa.String(36), primary_key=True),
        sa.Column('expect_until', sa.Double),
        sa.Column('token_hash', sa.String(64)),
        sa.Column('token_issued_at', sa.Double),
        sa.Column('generation', sa.Integer, nullable=False),
        sa.Column('url', _LONG),
        sa.Column('version', _LONG),
        sa.Column('verify_ca', _LONG),
        sa.Column('status', _LONG),
        sa.Column('status_message', _LONG),
        sa.Column('heartbeat_at', sa.Double),
        **_TABLE,
    )
