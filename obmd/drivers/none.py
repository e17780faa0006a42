"""The ``none`` driver: a node without a BMC.  Commands run for it; nothing else can be done."""

from obmd.drivers import base


class NoDriver(base.Driver):
    """``info`` is empty."""

    schema = {'type': 'object', 'maxProperties': 0}
