"""Run by alembic for each command.  The caller passes a connection with a transaction begun."""

from alembic import context

from obmd.db import models

context.configure(
    connection=context.config.attributes['connection'],
    target_metadata=models.Base.metadata,
    transactional_ddl=True,
)
context.run_migrations()
