"""All options of obmd, one module a group; each option's help says what it risks.

``CONF`` is oslo.config's global object because oslo.messaging registers its own options there
only.  Nothing reads it at import.
"""

from oslo_config import cfg

from obmd.conf import actions
from obmd.conf import agent
from obmd.conf import api
from obmd.conf import aws
from obmd.conf import azure
from obmd.conf import conductor
from obmd.conf import console
from obmd.conf import database
from obmd.conf import default
from obmd.conf import drivers
from obmd.conf import dummy
from obmd.conf import ipmi
from obmd.conf import machine_types
from obmd.conf import metrics
from obmd.conf import secrets

CONF = cfg.CONF

_GROUPS = (
    (None, default),
    ('actions', actions),
    ('agent', agent),
    ('api', api),
    ('aws', aws),
    ('azure', azure),
    ('conductor', conductor),
    ('console', console),
    ('database', database),
    ('drivers', drivers),
    ('dummy', dummy),
    ('ipmi', ipmi),
    ('machine_types', machine_types),
    ('metrics', metrics),
    ('secrets', secrets),
)


def register(conf=CONF):
    """Register every option of obmd on ``conf``; harmless when done before."""
    for group, module in _GROUPS:
        conf.register_opts(module.OPTIONS, group=group)


def list_opts():
    """Entry point ``oslo.config.opts``: what the sample file and the reference are made from."""
    return [(group or 'DEFAULT', module.OPTIONS) for group, module in _GROUPS]


register()
