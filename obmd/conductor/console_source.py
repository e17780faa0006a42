"""What stands between a console and one opening of its source (``console``)."""

import threading

from obmd.drivers import base


class Sink(base.ConsoleSink):
    """Takes what one opening of the source delivers; a former one is not listened to.

    :ivar announced: bool, whether the BMC may have been asked for SOL.
    """

    def __init__(self, console):
        self._console = console
        self.announced = False

    def opening(self):
        self._console.announce()
        self.announced = True

    def data(self, chunk):
        self._console.feed(self, chunk)

    def lost(self, error):
        self._console.source_lost(self, error)


class Attempt:
    """One try to open the source, waited for by any number of viewers."""

    def __init__(self, sink, takeover, began):
        self.sink = sink
        self.takeover = takeover
        self.began = began
        self.error = None
        self.done = threading.Event()
