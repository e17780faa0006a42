"""A sweep: the power of many nodes, each line as soon as its BMC has answered."""

import json
import threading
import time

from obmd.common import errors
from obmd.common import threads
from obmd.common.deadline import Deadline
from obmd.streams import viewer

#: nodes asked before the hub may see to something else: thousands of packets in one go would hold
#: up every console and the heartbeat
SLICE = 50


def start(lives, missing, seconds):
    """Ask all of ``lives``; who does not answer keeps no other waiting.

    :param lives: list of LiveNode.
    :param missing: dict of label -> ObmdError, nodes that cannot be asked.
    :param seconds: until a node that has not answered gets an error line.
    :returns: :class:`obmd.streams.viewer.LineStream`, one JSON object a line.
    """
    stream = viewer.LineStream()
    sweep = _Sweep(stream, len(lives), Deadline(seconds))
    for name, error in missing.items():
        stream.put(_line({'node': name, 'error': _told(error)}))
    if not lives:
        stream.finish()
    threads.spawn(sweep.ask_all, lives)
    return stream


class _Sweep:
    def __init__(self, stream, left, deadline):
        self._stream = stream
        self._left = left
        self._deadline = deadline
        self._lock = threading.Lock()

    def ask_all(self, lives):
        for begin in range(0, len(lives), SLICE):
            for live in lives[begin : begin + SLICE]:
                threads.spawn(self.ask, live)
            time.sleep(0)

    def ask(self, live):
        try:
            line = {'node': live.name, 'power_status': live.read_power(self._deadline)}
        except errors.ObmdError as error:
            line = {'node': live.name, 'error': _told(error)}
        except Exception:
            error = errors.ObmdError('internal error of the conductor')
            line = {'node': live.name, 'error': _told(error)}
            raise
        finally:
            self._stream.put(_line(line))
            with self._lock:
                self._left -= 1
            if not self._left:
                self._stream.finish()


def _told(error):
    return {'kind': error.kind, 'reason': error.reason}


def _line(entry):
    return json.dumps(entry).encode() + b'\n'
