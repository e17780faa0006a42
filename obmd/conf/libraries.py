"""Defaults of libraries' options that differ in obmd; the sample file shows these."""

from oslo_config import cfg
from oslo_db import options as db_options
from oslo_log import log

#: oslo.db's 5 + 50 opens and closes a connection for nearly every call above five at once
DATABASE = {'max_pool_size': 10, 'max_overflow': 10, 'pool_timeout': 10}


def set_defaults():
    """Entry point ``oslo.config.opts.defaults``; services call it before they read options."""
    log.set_defaults(
        default_log_levels=[
            'amqp=WARN',
            'oslo.messaging=INFO',
            'oslo_messaging=INFO',
            'sqlalchemy=WARN',
            # each of its warnings is a traceback of what obmd.db says in a line
            'oslo_db.sqlalchemy.exc_filters=ERROR',
            'alembic=WARN',
            'stevedore=WARN',
            'eventlet.wsgi.server=WARN',
        ]
    )
    cfg.set_defaults(db_options.database_opts, **DATABASE)
