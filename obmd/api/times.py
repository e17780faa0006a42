"""Points in time as ``/api/v1`` writes and reads them: RFC 3339, in UTC."""

import datetime

from obmd.common import errors


def shown(seconds):
    """:param seconds: since the epoch, or None.  :returns: str to the millisecond, or None."""
    if seconds is None:
        return None
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec='milliseconds')


def parse(name, text):
    """:param text: str, a date, or a date and time; UTC unless it says another zone.

    :returns: float, seconds since the epoch.  :raises InvalidInput:
    """
    try:
        moment = datetime.datetime.fromisoformat(text)
        zoned = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
        return zoned.timestamp()
    except (ValueError, OverflowError):
        raise errors.InvalidInput(
            f'{name} must be a time such as 2026-11-20 or 2026-11-20T12:00:00Z'
        ) from None
