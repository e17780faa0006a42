"""What all endpoints of a conductor check first, and how they hand streams over."""

from obmd.common import errors
from obmd.streams import server


class Reception:
    """:param incarnation: str, of this start.
    :param lease: :class:`obmd.conductor.lease.Lease`.
    :param tickets: :class:`obmd.streams.tickets.Tickets`.
    :param callback_url: str, under which the tickets' streams are served.
    """

    def __init__(self, incarnation, lease, tickets, callback_url):
        self._incarnation = incarnation
        self._lease = lease
        self._tickets = tickets
        self._callback_url = callback_url.rstrip('/')
        #: ObmdError with which every call is refused, or None
        self.stopping = None

    def require_self(self, incarnation):
        """A call for ``incarnation`` may be answered now.

        :raises NotOwner: it was meant for another start.
        :raises ObmdError: this conductor is stopping, or may not act.
        """
        if self.stopping is not None:
            raise errors.from_wire(self.stopping.to_wire())
        self._lease.require()
        if incarnation != self._incarnation:
            raise errors.NotOwner('the call was meant for an earlier start of this conductor')

    def ticket(self, opener, abandon, headers):
        """:param opener: called at redemption, gives ``(stream, headers)``.
        :param abandon: called when nobody came.
        :returns: dict: ``ticket``, ``url``, ``headers``.
        :raises Unavailable: too many are open.
        """
        try:
            ticket = self._tickets.issue(opener, abandon)
        except errors.ObmdError:
            abandon()
            raise
        return {
            'ticket': ticket,
            'url': f'{self._callback_url}{server.PREFIX}{ticket}',
            'headers': headers,
        }


def headers(content_type):
    """:returns: dict, the headers of a stream that stands for its ticket."""
    return {
        'Content-Type': content_type,
        'Cache-Control': 'no-store',
        'Referrer-Policy': 'no-referrer',
        'X-Content-Type-Options': 'nosniff',
    }
