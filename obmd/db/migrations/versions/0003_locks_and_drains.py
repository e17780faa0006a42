"""What runs on a node and for whom; conductors that an operator has drained."""

import sqlalchemy as sa

from obmd.db.migrations import steps

revision = '0003'
down_revision = '0002'


def upgrade():
    # the shadow of the lock that the owner holds in memory
    steps.add_column('nodes', sa.Column('lock_purpose', sa.String(255)))
    steps.add_column('nodes', sa.Column('lock_caller', sa.String(255)))
    steps.add_column('nodes', sa.Column('lock_since', sa.Double))
    steps.add_column(
        'conductors', sa.Column('drained', sa.Boolean, nullable=False, server_default=sa.false())
    )
