"""A job's output as lines of text, as people read it: whole lines, in the order in which they end.

With more than one node each line says whose it is.
"""

import io

from obmd.common import names
from obmd.db import runs

#: bytes after which a line is broken, for others wait for its end
LONGEST = 65536
#: outcomes that say all in their output
_BY_ITSELF = (runs.EXITED, runs.SIGNALLED)
#: kinds of ``obmd.api.output.Event``
_OUTPUT, _RUN, _GAP = ('stdout', 'stderr'), 'run', 'gap'


class Lines:
    """:param with_names: whether a line begins with ``node: ``."""

    def __init__(self, with_names):
        self._with_names = with_names
        #: (position, kind) -> what came of a line that has not ended
        self._begun = {}

    def of(self, events):
        """:param events: of ``obmd.api.output``.  :returns: bytes, the lines that have ended."""
        made = io.BytesIO()
        for event in events:
            made.write(self._of(event))
        return made.getvalue()

    def _of(self, event):
        if event.kind in _OUTPUT:
            return self._put(event)
        if event.kind == _GAP:
            count = 'some' if event.data is None else event.data
            return self._finish(event) + self._named(event, f'[{count} bytes are missing]')
        if event.kind == _RUN and event.data['state'] == runs.ENDED:
            return self._finish(event) + self._why(event)
        return b''

    def _put(self, event):
        key = event.position, event.kind
        whole, newline, rest = (self._begun.pop(key, b'') + event.data).rpartition(b'\n')
        if len(rest) > LONGEST:
            whole, newline, rest = whole + newline + rest, b'\n', b''
        if rest:
            self._begun[key] = rest
        return self._prefixed(event, whole + newline) if newline else b''

    def _finish(self, event):
        """The lines of a run that lack their newline."""
        rest = [self._begun.pop((event.position, kind), b'') for kind in _OUTPUT]
        return b''.join(self._prefixed(event, one + b'\n') for one in rest if one)

    def _why(self, event):
        """What a user sees nowhere else: that it did not run, or not to its end."""
        outcome, reason = event.data['outcome'], event.data['reason']
        if outcome in _BY_ITSELF:
            return b''
        return self._named(event, reason or outcome.replace('_', ' '))

    def _named(self, event, text):
        return self._prefixed(event, f'{names.shown(" ".join(text.split()))}\n'.encode())

    def _prefixed(self, event, lines):
        """:param lines: bytes that end with a newline."""
        if not self._with_names or event.node is None:
            return lines
        name = f'{names.shown(event.node)}: '.encode()
        return name + lines[:-1].replace(b'\n', b'\n' + name) + b'\n'
