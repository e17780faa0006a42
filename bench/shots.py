"""Requests on connections of their own: at a rate whatever the answers take, or so many at once."""

import time

from bench import clients

#: seconds for which answers are read before the next request, although it is late already
_TURN = 0.0005


class Shot:
    """One request.

    :param due: monotonic time from which the answer's time counts.
    :param source: str, the address that it comes from, or None.
    :ivar status: int.  :ivar body: bytes.  :ivar seconds: float, from ``due`` to the answer's end.
    """

    def __init__(self, address, data, due, source=None):
        self.address = address
        self.data = data
        self.source = source and (source, 0)
        self.status = self.seconds = None
        self.body = b''
        self._due = due
        self._received = b''

    def readable(self, loop, sock):
        data = sock.recv(65536)
        if not data:
            raise clients.BadAnswer('a request was cut off')
        self._received += data
        found = clients.parse_head(self._received)
        if found is None or len(found[2]) < int(found[1].get('content-length', 0)):
            return
        self.seconds = time.monotonic() - self._due
        self.status, _, self.body = found
        self._received = b''
        loop.remove(sock)


def paced(address, requests, rate):
    """Ask ``rate`` times a second, whether what was asked before is answered or not.

    :param requests: iterable of (bytes, source or None).
    :returns: list of Shot, all answered; their times count from when they were due.
    """
    shots, started = [], time.monotonic()
    with clients.Loop() as loop:
        for number, (data, source) in enumerate(requests):
            due = started + number / rate
            loop.run(max(_TURN, due - time.monotonic()))
            shots.append(loop.add(Shot(address, data, due, source)))
        _finish(loop)
    return shots


def drained(address, requests, at_once):
    """Ask as fast as ``at_once`` callers get answers.

    :returns: (list of Shot, seconds that all of them took).
    """
    shots, started = [], time.monotonic()
    with clients.Loop() as loop:
        for data, source in requests:
            if not loop.run(clients.PATIENCE, lambda: len(loop) < at_once):
                raise clients.BadAnswer('no answers')
            shots.append(loop.add(Shot(address, data, time.monotonic(), source)))
        _finish(loop)
    return shots, time.monotonic() - started


def _finish(loop):
    if not loop.run(clients.PATIENCE, lambda: not len(loop)):
        raise clients.BadAnswer(f'{len(loop)} requests were not answered')
