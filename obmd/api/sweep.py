"""A sweep: the power of many nodes, one call and one stream a conductor, merged as it comes.

Every name is answered exactly once.  A node that a conductor does not own any more, or leaves
without an answer, is asked for at its owner as of then: reading twice harms nothing.
"""

import collections
import json
import logging
import threading
import time

from obmd.api import delivery
from obmd.api import errors as api_errors
from obmd.api import operations
from obmd.common import errors
from obmd.common import rpc
from obmd.common import threads
from obmd.conductor import routing
from obmd.db import nodes
from obmd.streams import viewer

LOG = logging.getLogger(__name__)

#: seconds beyond the deadline that a conductor has to say that a BMC missed it
GRACE = 2.0
#: times that a conductor that lives may leave a node without an answer: one that dies breaks its
#: stream off, and may then be called once more before that is noticed
TRIES = 3
#: error lines made in a row; thousands at once would keep others waiting
SLICE = 200


class Sweep(viewer.LineStream):
    """The merged answer; starts with :meth:`start`.

    :param services: :class:`obmd.api.operations.Services`.
    :param names: list of str, each once.
    :param deadline: :class:`obmd.common.deadline.Deadline`.
    """

    def __init__(self, services, names, deadline):
        super().__init__()
        self._services = services
        self._deadline = deadline
        self._guard = threading.Lock()
        self._waiting = dict.fromkeys(names)
        self._sources = set()
        self._silences = collections.Counter()

    def start(self):
        """Look the nodes up; the rest goes on in threads.

        :raises Unavailable: the database is not there.
        """
        known = nodes.by_names(list(self._waiting))
        unknown = self._waiting.keys() - {node.name for node in known}
        threads.spawn(self._run, known, sorted(unknown))

    def _wake(self):
        super()._wake()
        with self._guard:
            sources, self._sources = self._sources, set()
        for source in sources:
            source.close()

    def _run(self, known, unknown):
        try:
            self.fail(unknown, errors.NotFound('there is no such node'))
            left = self._round(known, first=True)
            patience = self._deadline.within(operations.MOVE_TIMEOUT)
            while left and self.ended is None and not patience.expired:
                if self._deadline.remaining < operations.LEAST:
                    break
                time.sleep(operations.MOVE_PAUSE * (1 + len(left) // nodes.CHUNK))
                again = nodes.by_names(list(left))
                gone = left.keys() - {node.name for node in again}
                self.fail(sorted(gone), errors.NotFound('there is no such node'))
                left = self._round(again)
            self._fail_each(left)
        except Exception as error:
            self.fail(list(self._waiting), error)
        finally:
            self.fail(list(self._waiting), errors.Unavailable('its conductor gave no answer'))
            self.finish()

    def _round(self, known, first=False):
        """:param first: a dead owner may have handed the node over after the row was read.

        :returns: dict of name -> error, those that are worth one more try.
        """
        by_owner, unroutable = self._services.router.split(known)
        left, failed = {}, {}
        for name, error in unroutable.items():
            again = isinstance(error, routing.OwnerGone) and (first or error.heir)
            (left if again else failed)[name] = error
        self._fail_each(failed)
        asked = [_Asked(self, inc, group, left) for inc, group in by_owner.items()]
        for one in asked:
            threads.spawn(one.run)
        for one in asked:
            one.done.wait(self._deadline.remaining + GRACE)
        return dict(left)

    def _fail_each(self, failed):
        """:param failed: dict of name -> error."""
        alike = {}
        for name, error in failed.items():
            alike.setdefault((error.kind, error.reason), (error, []))[1].append(name)
        for error, names in alike.values():
            self.fail(names, error)

    # -- what the askers use -----------------------------------------------------------------

    def watched(self, incarnation, give_up):
        return self._services.router.watched(incarnation, give_up)

    def silence(self, names, error):
        """A conductor left ``names`` without an answer.

        :returns: dict of name -> error, those that may be asked for once more.
        """
        with self._guard:
            names = [name for name in names if name in self._waiting]
        self._silences.update(names)
        over = [name for name in names if self._silences[name] >= TRIES]
        self.fail(over, error)
        return dict.fromkeys(set(names).difference(over), error)

    def open(self, incarnation, group):
        """:returns: iterable of bytes, the conductor's lines."""
        offer = self._services.conductor_api.open_sweep(incarnation, group, self._deadline)
        source = offer.stream
        if source is None:
            source = delivery.RemoteStream(offer.url, self._deadline.remaining + GRACE)
        with self._guard:
            ended = self.ended is not None
            if not ended:
                self._sources.add(source)
        if ended:
            source.close()
        return source

    def drop(self, source):
        with self._guard:
            self._sources.discard(source)
        source.close()

    def answer(self, name, line):
        """Pass ``line`` on as the answer for ``name`` if there was none."""
        with self._guard:
            if name not in self._waiting:
                return
            del self._waiting[name]
        self.put(line)

    def fail(self, names, error):
        """One error for all of ``names`` that have no answer yet."""
        if not names:
            return
        shown = api_errors.wire(error)
        shown.pop('node', None)
        for number, name in enumerate(names, 1):
            self.answer(name, json.dumps({'node': name, 'error': shown}).encode() + b'\n')
            if number % SLICE == 0:
                time.sleep(0)


class _Asked:
    """One conductor and the nodes that it was asked for."""

    def __init__(self, sweep, incarnation, group, left):
        self._sweep = sweep
        self._incarnation = incarnation
        self._group = group
        self._names = [node.name for node in group]
        self._left = left
        self.done = threading.Event()

    def run(self):
        try:
            self._read()
        except errors.NotOwner:
            self._left.update(dict.fromkeys(self._names, _moving()))
        except routing.OwnerGone as error:
            self._left.update(dict.fromkeys(self._names, error))
        except rpc.NoAnswer as error:
            silent = operations.silent(error)
            if error.gone:
                self._left.update(dict.fromkeys(self._names, silent))
            else:
                self._left.update(self._sweep.silence(self._names, silent))
        except delivery.NotDelivered as error:
            self._left.update(self._sweep.silence(self._names, error))
        except Exception as error:
            self._sweep.fail(self._names, error)
        finally:
            self.done.set()

    def _read(self):
        asked = set(self._names)
        source = self._sweep.open(self._incarnation, self._group)
        try:
            self._take(source, asked)
        finally:
            self._sweep.drop(source)
        error = errors.Unavailable('the conductor ended its answer early', retry_after=1)
        self._left.update(self._sweep.silence([n for n in self._names if n in asked], error))

    def _take(self, source, asked):
        """:param asked: set of names; those that are answered are taken out."""
        with self._sweep.watched(self._incarnation, source.close):
            for line in _lines(source):
                name, kind = _read_line(line)
                if name not in asked:
                    continue
                if kind == 'not_owner':
                    self._left[name] = _moving()
                else:
                    self._sweep.answer(name, line)
                asked.discard(name)


def _moving():
    return errors.NotOwner('the node is changing its conductor')


def _lines(source):
    """Whole lines, with their newline, of chunks that end anywhere."""
    rest = b''
    for chunk in source:
        *lines, rest = (rest + chunk).split(b'\n')
        for line in lines:
            yield line + b'\n'


def _read_line(line):
    """:returns: (node name or None, kind of error or None)."""
    try:
        told = json.loads(line)
        name, kind = told['node'], told.get('error', {}).get('kind')
        if isinstance(name, str):
            return name, kind
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        pass
    LOG.error('a conductor answered a sweep with what is no line of one')
    return None, None
