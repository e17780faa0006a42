"""What becomes of heartbeats that come together: an answer for each, whatever the others are."""

import contextlib
import logging

from obmd.common import errors
from obmd.common import metrics

LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def answering(answers, place):
    """What is raised within is the answer of this one.

    :param answers: list of None or ObmdError.
    """
    try:
        yield
    except errors.ObmdError as error:
        answers[place] = error
    except Exception:
        LOG.exception('a heartbeat is not taken')
        answers[place] = errors.ObmdError('internal error')


def count(answers):
    """Into the metric of heartbeats.  :param answers: list of None or ObmdError."""
    outcomes = {}
    for error in answers:
        outcome = metrics.outcome(error)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    for outcome, number in outcomes.items():
        metrics.AGENT_HEARTBEATS.count(outcome, by=number)
