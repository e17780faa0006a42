"""``/api/v1/commands``: what may be run on nodes."""

from obmd.api import http
from obmd.api import jobs
from obmd.common import errors


def index(request, services):
    """``GET /api/v1/commands``: 200 ``{"commands": [...]}``, those that the caller may run."""
    found = [command for command in jobs.table.all() if _may(request, command)]
    return http.json_response({'commands': [_told(command) for command in found]})


def show(request, services):
    """``GET /api/v1/commands/{id}``: 200, the command."""
    command = jobs.table.get(request.label)
    if not _may(request, command):
        raise errors.NotFound('there is no such command')
    return http.json_response(_told(command))


def _may(request, command):
    return request.identity.may_run(command.name, contextless=not command.has_context)


def _told(command):
    return {
        'name': command.name,
        'summary': command.summary,
        'description': command.description,
        'syntax': command.syntax,
        'confirmation': command.confirmation,
        'has_context': command.has_context,
        'builtin': command.builtin,
        'ranks': command.ranks,
    }
