"""Defaults of libraries' options that differ in obmd; the sample file shows these."""

from oslo_config import cfg
from oslo_db import options as db_options
from oslo_log import log

#: what is over the size of the pool (oslo.db: 5 + 50) is opened and closed for nearly every call
DATABASE = {'max_pool_size': 20, 'max_overflow': 0, 'pool_timeout': 10}

BUS = {
    # Replicated over a cluster: a broker of three may fail and no call is lost.  Ours live for
    # seconds, and a conductor refuses what it has seen or what has expired.
    'rabbit_quorum_queue': True,
    'rabbit_transient_quorum_queue': True,
    # queues of processes that are gone, in seconds
    'rabbit_transient_queues_ttl': 300,
    # A broker that is gone without a word (oslo.messaging: 60) is noticed in time for callers to
    # get an answer, and one that is back is found (oslo.messaging: up to 30) at once.
    'heartbeat_timeout_threshold': 10,
    'rabbit_retry_backoff': 1,
    'rabbit_interval_max': 4,
}


def set_defaults():
    """Entry point ``oslo.config.opts.defaults``; services call it before they read options."""
    # Here, because they import eventlet: what only asks the database does without.
    from oslo_messaging import set_transport_defaults
    from oslo_messaging._drivers import impl_rabbit

    log.set_defaults(
        default_log_levels=[
            'amqp=WARN',
            # their debugging shows what is signed and what is sent
            'azure=WARN',
            'boto3=WARN',
            'botocore=WARN',
            'msal=WARN',
            # it warns of each connection that it does not keep
            'urllib3=ERROR',
            'oslo.messaging=INFO',
            'oslo_messaging=INFO',
            # obmd.common.rabbit says it, in fewer lines
            'oslo_messaging._drivers.impl_rabbit=CRITICAL',
            'sqlalchemy=WARN',
            # each of its warnings is a traceback of what obmd.db says in a line
            'oslo_db.sqlalchemy.exc_filters=ERROR',
            'alembic=WARN',
            'stevedore=WARN',
            'eventlet.wsgi.server=WARN',
        ]
    )
    cfg.set_defaults(db_options.database_opts, **DATABASE)
    cfg.set_defaults(impl_rabbit.rabbit_opts, **BUS)
    set_transport_defaults('obmd')
