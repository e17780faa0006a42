"""The callback URL: ``GET /stream/<ticket>``, and the pages that monitoring asks.

A WSGI application that ``obmd.common.serving`` serves on ``[conductor] listen``.  A ticket is
all that a caller shows; it never reaches a log.
"""

from obmd.common import errors
from obmd.common import exposition
from obmd.common import pages

#: path under which streams are served, below the callback URL
PREFIX = '/stream/'
#: what the paths below it are to who counts requests
ROUTE = PREFIX + '{ticket}'

_STATUS = {
    'not_found': '404 Not Found',
    'unauthorized': '401 Unauthorized',
    'unavailable': '503 Service Unavailable',
}


def make_app(tickets, reasons=dict):
    """:param tickets: :class:`obmd.streams.tickets.Tickets`.
    :param reasons: callable giving a dict of word to sentence: why the conductor is not ready.
    :returns: WSGI application.
    """

    def health(start_response):
        return pages.json_page(start_response, '200 OK', {'status': 'ok'})

    def readiness(start_response):
        found = reasons()
        if not found:
            return health(start_response)
        error = {'kind': 'unavailable', 'reason': '; '.join(found.values())}
        body = {'error': error, 'reasons': sorted(found)}
        return pages.json_page(
            start_response, '503 Service Unavailable', body, [('Retry-After', '1')]
        )

    def metrics(start_response):
        if not exposition.is_here():
            return pages.error(start_response, '404 Not Found', 'not_found', 'no such page')
        return pages.page(start_response, '200 OK', exposition.CONTENT_TYPE, exposition.page())

    answers = {'/healthz': health, '/readyz': readiness, exposition.PATH: metrics}

    def app(environ, start_response):
        path = environ.get('PATH_INFO', '')
        if path in answers:
            environ['obmd.route'] = path
        elif path.startswith(PREFIX):
            environ['obmd.route'] = ROUTE
        if environ['REQUEST_METHOD'] != 'GET':
            return pages.error(
                start_response, '405 Method Not Allowed', 'method_not_allowed', 'GET only'
            )
        if path in answers:
            return answers[path](start_response)
        if not path.startswith(PREFIX):
            return pages.error(start_response, '404 Not Found', 'not_found', 'no such page')
        try:
            stream, headers = tickets.redeem(path[len(PREFIX) :])
        except errors.ObmdError as error:
            status = _STATUS.get(error.kind, '500 Internal Server Error')
            return pages.error(start_response, status, error.kind, error.reason, error.retry_after)
        start_response('200 OK', list(headers.items()))
        return stream

    return app
