"""Alembic's scripts, run by ``obmd.db.schema``; never edited once released."""
