"""What tells a conductor's own former rows from those of another with the same host name."""

import sqlalchemy as sa

from obmd.db.migrations import steps

revision = '0002'
down_revision = '0001'


def upgrade():
    steps.add_column(
        'conductors', sa.Column('home', sa.String(32), nullable=False, server_default='')
    )
