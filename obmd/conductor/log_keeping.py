"""Console logs that are old enough go, a few folders at a time, in the log's native thread."""

import contextlib
import os
import time

from obmd.streams import segments

#: seconds from the end of one round over all folders to the next
EVERY = 3600.0
#: folders looked at between two writes of the log
AT_ONCE = 20


class Keeping:
    """:param folder: str, of all logs.  :param keep: seconds.
    :param clock: wall clock, as the files have it.  :param monotonic: for the pauses.
    """

    def __init__(self, folder, keep, clock=time.time, monotonic=time.monotonic):
        self._folder = folder
        self._keep = keep
        self._clock = clock
        self._monotonic = monotonic
        self._names = None
        self._due = monotonic()

    def step(self):
        """Go on for a little while."""
        if self._names is None:
            if self._monotonic() < self._due:
                return
            self._names = self._list()
        for _ in range(AT_ONCE):
            if not self._names:
                self._names, self._due = None, self._monotonic() + EVERY
                return
            with contextlib.suppress(OSError):
                self._clean(os.path.join(self._folder, self._names.pop()))

    def _list(self):
        try:
            return [name for name in os.listdir(self._folder) if segments.NAME.fullmatch(name)]
        except OSError:
            return []

    def _clean(self, folder):
        if os.path.islink(folder):
            return
        before = self._clock() - self._keep
        there = segments.numbers(folder)
        for number in there:
            if segments.size_of(folder, number)[1] < before:
                segments.remove(folder, number)
        if there:
            os.rmdir(folder)  # only if that was all
