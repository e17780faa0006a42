"""What the owner of a job hands to those who run it, as it crosses the bus."""

import dataclasses

from obmd.db import runs

#: exit status of a run that did not exit by itself; 124 to 126 and 128 + SIGINT are what
#: timeout(1) and shells use
STATUS = {
    runs.TIMED_OUT: 124,
    runs.OUTPUT_LIMIT: 125,
    runs.NOT_STARTED: 126,
    runs.CANCELLED: 130,
    runs.LOST: runs.LOST_STATUS,
}


@dataclasses.dataclass(frozen=True)
class Spec:
    """What all runs of a job have in common.

    :ivar job: str, uuid.
    :ivar arguments: tuple of str.
    :ivar owner: str, incarnation of the job's owner, and its ``host``: it is told what becomes of
        the runs.
    :ivar timeout: seconds a run may take.
    :ivar output_limit: bytes a run may write.
    :ivar width: int, how many of them may run at once at one conductor.
    :ivar claimed_user: str or None, who the caller says that asks; ``claimed_uid``: int or None.
    """

    job: str
    command: str
    arguments: tuple
    owner: str
    host: str
    timeout: float
    output_limit: int
    width: int
    claimed_user: str | None = None
    claimed_uid: int | None = None

    def to_wire(self):
        return dataclasses.asdict(self)

    @classmethod
    def from_wire(cls, wire):
        known = {field.name for field in dataclasses.fields(cls)}
        fields = {name: value for name, value in wire.items() if name in known}
        return cls(**{**fields, 'arguments': tuple(wire['arguments'])})


def ending(job, position, outcome, reason=None, output_bytes=0):
    """:returns: ``obmd.db.runs.End`` of a run that did not exit by itself."""
    return runs.End(job, position, outcome, STATUS[outcome], reason, output_bytes)
