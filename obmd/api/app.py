"""The WSGI application: Pecan, dispatching through the table in ``routes``.

Pecan is given one root controller whose ``_route`` reads the table, a request class without
argument binding (``http.Request``), and one error hook.
"""

import pecan
from oslo_context import context
from oslo_middleware import http_proxy_to_wsgi
from oslo_middleware import request_id
from pecan import core
from pecan import hooks

from obmd.api import errors as api_errors
from obmd.api import http
from obmd.api import routes
from obmd.api.jsonapi import errors as jsonapi_errors
from obmd.api.ramdisk import envelope
from obmd.common import exposition
from obmd.conf import CONF

CONF.register_opts(http_proxy_to_wsgi.OPTS, group='oslo_middleware')


class _Root:
    """Finds the row of the table and runs its function."""

    def __init__(self, services, table):
        self._services = services
        self._table = table

    @pecan.expose()
    def _route(self, segments, request):
        environ = request.environ
        environ['obmd.route'], methods, environ['obmd.variables'] = self._table.find(segments)
        environ['obmd.function'] = routes.choose(request.method, methods)
        return self.answer, []

    @pecan.expose()
    def answer(self, request, response):
        return request.environ['obmd.function'](request, self._services)


class _Errors(hooks.PecanHook):
    """:param is_ironic: callable that says of a path whether it belongs to the Ironic door."""

    def __init__(self, is_ironic):
        self._is_ironic = is_ironic

    def on_error(self, state, error):
        if self._is_ironic(state.request.path_info):
            return envelope.response(state.request, error)
        if jsonapi_errors.covers(state.request.path_info):
            return jsonapi_errors.response(error)
        return api_errors.response(error)


class _Application(core.ExplicitPecan):
    """Pecan without what it does for pages: walking controllers by attribute, reading their
    signatures (0.2 ms a request), binding arguments, rendering."""

    def route(self, req, node, path):
        return node._route(path.split('/')[1:], req)

    def invoke_controller(self, controller, args, kwargs, state):
        state.response = controller(*args)

    def get_args(self, state, all_params, remainder, argspec, im_self):
        return [state.request, state.response], [], {}

    def _handle_empty_response_body(self, state):
        # Pecan turns an empty 200 into a 204 and reads the whole body to find out; OBMd's
        # callers are promised 200, and a stream has no end.
        pass


class _RequestId(request_id.RequestId):
    """Gives each request an id, in the answer's ``X-Openstack-Request-Id`` and in the log.

    Without the parent's second pass through WebOb, which costs as much as a request.
    """

    def __call__(self, environ, start_response):
        number = context.generate_request_id()
        environ[request_id.ENV_REQUEST_ID] = number

        def start(status, headers, exc_info=None):
            headers.append((request_id.HTTP_RESP_HEADER_REQUEST_ID, number))
            return start_response(status, headers, exc_info)

        return self.application(environ, start)


def make_app(services):
    """:param services: :class:`obmd.api.operations.Services`.  :returns: WSGI application."""
    exposition.watch_pool('streams', lambda: (services.slots.taken, CONF.api.max_streams))
    app = _make(services, routes.EVERYTHING, envelope.covers)
    if CONF.oslo_middleware.enable_proxy_headers_parsing:
        app = http_proxy_to_wsgi.HTTPProxyToWSGI(app, CONF)
    return app


def make_ramdisk_app(services):
    """What ``[agent] listen`` serves: the Ironic door and nothing else.

    Headers of proxies are not believed there: its callers could write what they like.

    :returns: WSGI application.
    """
    return _make(services, routes.RAMDISK_ONLY, lambda path: True)


def _make(services, table, is_ironic):
    app = _Application(
        _Root(services, table),
        default_renderer='json',
        hooks=[_Errors(is_ironic)],
        force_canonical=False,
        guess_content_type_from_ext=False,
        request_cls=http.Request,
        response_cls=http.Response,
    )
    return _RequestId(exposition.measured(app))
