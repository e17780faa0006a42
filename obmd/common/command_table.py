"""The commands that there are: built in, and in the folders of ``[actions] command_dirs``.

API and conductors each have one :class:`Table`.  It follows what changes in the folders: who asks
it when the last look is some seconds old has it look again, in a thread of the operating system,
because a disk may stall; after a moment the answer is what was seen last.

A name is looked up in the folders in their order, and the first that has it decides, even if what
it has is no whole command.
"""

import dataclasses
import logging
import os
import threading
import time

from obmd.common import commands
from obmd.common import errors
from obmd.common import names as node_names
from obmd.common import threads
from obmd.conf import CONF

LOG = logging.getLogger(__name__)

#: seconds after which the folders are looked at again, if somebody asks
AGAIN = 2.0
#: the same for who asks for a command that was not seen
MISSED = 0.1
#: seconds that who asks waits for a look, and between two glances whether it is over
PATIENCE, GLANCE = 0.5, 0.005
#: the reasons of faults that may be on purpose
MISSING, HIDDEN = 'there is no such folder', 'hidden: a folder before it has a command so named'
#: command folders in one of ``command_dirs``
MOST = 1000


@dataclasses.dataclass(frozen=True)
class Fault:
    """What keeps something from being used.

    :ivar name: str, of the command; None: it is about a whole folder of ``command_dirs``.
    :ivar where: str, the folder.
    """

    name: str | None
    where: str
    reason: str

    def __str__(self):
        return f'{node_names.shown(self.where)}: {self.reason}'


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """What one look has found.

    :ivar commands: dict of name to :class:`~obmd.common.commands.Command`.
    :ivar faults: tuple of :class:`Fault`.
    """

    commands: dict
    faults: tuple = ()


class Table:
    """:param builtin: dict of name to Command, of those that obmd has itself."""

    def __init__(
        self,
        builtin,
        clock=time.monotonic,
        sleep=time.sleep,
        start=threads.spawn_native,
    ):
        self._builtin = dict(builtin)
        self._clock = clock
        self._sleep = sleep
        self._start = start
        self._lock = threading.Lock()
        self._kept = {}
        self._snapshot = None
        self._begun_at = None
        self._look = None
        self._told = set()

    def all(self):
        """:returns: list of Command that may be run, by name."""
        found = self.snapshot().commands
        return [found[name] for name in sorted(found)]

    def get(self, name):
        """:returns: Command.  :raises NotFound: there is none, or it is not whole."""
        found = self.snapshot().commands.get(name)
        if found is None:
            found = self.snapshot(MISSED).commands.get(name)  # it may have been made just now
        if found is None:
            raise errors.NotFound('there is no such command')
        return found

    def snapshot(self, again=AGAIN):
        """:param again: seconds after which the folders are looked at again.

        :returns: :class:`Snapshot`, not older than that unless a disk is slow.
        """
        look = self._begin(again)
        while not look.over and self._clock() - look.begun_at < PATIENCE:
            self._sleep(GLANCE)
        with self._lock:
            if look.over:
                self._keep(look)
            return self._snapshot or Snapshot(self._builtin)

    def refresh(self):
        """Look now, in this thread, however long it takes.  :returns: :class:`Snapshot`."""
        look = _Look(CONF.actions.command_dirs, self._builtin, {}, self._clock())
        look.run()
        with self._lock:
            self._look = look
            self._keep(look)
            return self._snapshot

    def _begin(self, again):
        with self._lock:
            now = self._clock()
            look = self._look
            if look is not None and (not look.over or now - look.begun_at < again):
                return look
            if look is not None:
                self._keep(look)
            folders = CONF.actions.command_dirs
            look = self._look = _Look(folders, self._builtin, self._kept, now)
        self._start(look.run)
        return look

    def _keep(self, look):
        if look.snapshot is None or look.snapshot is self._snapshot:
            return
        self._snapshot, self._kept = look.snapshot, look.kept
        faults = set(look.snapshot.faults)
        for fault in sorted(faults - self._told, key=str):
            level = logging.INFO if fault.reason in (MISSING, HIDDEN) else logging.WARNING
            LOG.log(level, 'commands: %s', fault)
        self._told = faults


class _Look:
    """One look at all folders, in any thread: it uses no lock and no logger.

    :param kept: dict of (root, name) to (what was seen, what it made), as of an earlier look.
    """

    def __init__(self, folders, builtin, kept, begun_at):
        self._folders = [os.path.abspath(folder) for folder in folders]
        self._builtin = builtin
        self._before = kept
        self.begun_at = begun_at
        self.kept = {}
        self.snapshot = None
        self.over = False

    def run(self):
        try:
            self._run()
        finally:
            self.over = True

    def _run(self):
        found, faults, seen = dict(self._builtin), [], set()
        for root in self._folders:
            try:
                names = _names(root)
            except commands.Invalid as error:
                faults.append(Fault(None, root, str(error)))
                continue
            if commands.is_open(root):
                faults.append(Fault(None, root, commands.OPEN))
            for name in names:
                where = os.path.join(root, name)
                if name in seen:
                    faults.append(Fault(name, where, HIDDEN))
                    continue
                seen.add(name)
                # an invalid one hides the built-in too: it was meant to run, not that
                found.pop(name, None)
                try:
                    found[name] = self._read(root, name)
                except commands.Invalid as error:
                    faults.append(Fault(name, where, str(error)))
        self.snapshot = Snapshot(found, tuple(faults))

    def _read(self, root, name):
        folder = os.path.join(root, name)
        seen = commands.files(folder), commands.is_open(folder)
        before = self._before.get((root, name))
        if before is None or before[0] != seen:
            before = seen, _made(root, name, *seen, self._builtin.get(name))
        self.kept[root, name] = before
        if isinstance(before[1], str):
            raise commands.Invalid(before[1])
        return before[1]


def _made(root, name, files, open_to_all, builtin):
    try:
        return commands.read(root, name, files, builtin, open_to_all)
    except commands.Invalid as error:
        return str(error)
    except Exception as error:
        # one command that nobody thought of takes no other down
        return f'it cannot be read ({type(error).__name__})'


def _names(root):
    """:returns: list of the names of the folders in ``root``, hidden ones left out."""
    try:
        with os.scandir(root) as entries:
            names = sorted(e.name for e in entries if not e.name.startswith('.') and e.is_dir())
    except FileNotFoundError:
        raise commands.Invalid(MISSING) from None
    except OSError as error:
        raise commands.Invalid(f'this folder cannot be read: {error.strerror}') from None
    if len(names) > MOST:
        raise commands.Invalid(f'this folder holds more than {MOST} commands')
    return names
