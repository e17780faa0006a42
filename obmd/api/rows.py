"""What one row of the table of ``/api/v1`` says of itself.

The declaration is the one place that has who may, which parameters and which body there are, and
what comes back: it is checked here before the row's function runs, and ``openapi`` writes the
document from it.
"""

import dataclasses
import re
import typing

from obmd.api import auth
from obmd.api import bearer
from obmd.api import http
from obmd.api import validation
from obmd.common import errors

#: ``Row.operations`` of what everybody may read, without credentials
OPEN = None
#: of what only the admin may
ADMIN_ONLY = ()
#: of what any access token may that is good at all
ANY = bearer.OPERATIONS

NDJSON = 'application/x-ndjson'
_NUMBER = re.compile(r'[0-9]{1,9}(\.[0-9]{1,9})?')
_SWITCH = {'true': True, 'false': False}


@dataclasses.dataclass(frozen=True)
class Row:
    """A method of a path.

    :ivar function: of (request, services); it finds who asks in ``request.identity``, the checked
        parameters in ``request.parameters`` (those that were given, and defaults) and the checked
        body in ``request.fields``.
    :ivar summary: str, one line for the document.
    :ivar operations: tuple of str: an access token needs one of them; ``OPEN``, ``ADMIN_ONLY``.
    :ivar query: dict name -> JSON schema of one value, ``required`` beside its ``type``.
    :ivar body: JSON schema, or None: there is none.
    :ivar answer: JSON schema of what comes back, or None: nothing does.
    :ivar media: str, of the answer; of a stream ``answer`` is the schema of one line.
    :ivar status: int, of the answer.
    :ivar others: dict status -> JSON schema, further good answers.
    :ivar errors: tuple of kinds of errors that it may answer beside those of every row.
    """

    function: typing.Callable
    summary: str
    operations: tuple | None = ADMIN_ONLY
    query: dict = dataclasses.field(default_factory=dict)
    body: dict | None = None
    answer: dict | None = None
    media: str = 'application/json'
    status: int = 200
    others: dict = dataclasses.field(default_factory=dict)
    errors: tuple = ()

    def __call__(self, request, services):
        """:returns: :class:`obmd.api.http.Response`.

        :raises Unauthorized: :raises Forbidden: who asks may not.
        :raises InvalidInput: naming the parameter or the field.
        :raises UnsupportedMediaType: the body does not say that it is JSON.
        """
        if self.operations is not OPEN:
            request.identity = bearer.identify(request, services)
            self._require(request.identity)
        request.parameters = self._parameters(request.query_pairs())
        if self.body is not None:
            auth.require_json(request)
            request.fields = request.read_json(empty=False)
            validation.check(request.fields, self.body)
        return self.function(request, services)

    def _require(self, identity):
        if identity.is_admin or any(map(identity.may, self.operations)):
            return
        if not self.operations:
            raise errors.Forbidden('this is for the admin')
        raise errors.Forbidden(f'this token is not for {" or ".join(self.operations)}')

    def _parameters(self, pairs):
        given = {}
        for name, text in pairs:
            if name not in self.query:
                known = ', '.join(self.query) or 'none'
                raise errors.InvalidInput(f'an unknown parameter; known here: {known}')
            given.setdefault(name, _parameter(name, self.query[name], text))
        for name, schema in self.query.items():
            if name in given:
                continue
            if schema.get('required'):
                raise errors.InvalidInput(f'the parameter {name} is missing')
            if 'default' in schema:
                given[name] = schema['default']
        return given


def _parameter(name, schema, text):
    """:returns: the value of a parameter.  :raises InvalidInput:"""
    kind = schema['type']
    if kind == 'integer':
        least, most = schema['minimum'], schema['maximum']
        return http.number({name: text}, name, None, least, most)
    if kind == 'boolean':
        if text not in _SWITCH:
            raise errors.InvalidInput(f'{name} must be true or false')
        return _SWITCH[text]
    if kind == 'number':
        return _number(name, text)
    if '\0' in text:
        raise errors.InvalidInput(f'{name} has NUL in it')
    validation.check(text, {k: v for k, v in schema.items() if k != 'required'}, name)
    return text


def _number(name, text):
    if not _NUMBER.fullmatch(text):
        raise errors.InvalidInput(f'{name} must be a number')
    return float(text)
