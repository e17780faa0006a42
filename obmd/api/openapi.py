"""The OpenAPI 3.1 document of ``/api/v1``, written from the table's rows and their schemas."""

import re

from obmd import version
from obmd.api import errors as api_errors
from obmd.api import rows
from obmd.api.schemas import native as schemas

#: kinds of errors that any row answers; with credentials; with a name in its path; with what is
#: sent; with a body
_ALWAYS = ('unavailable', 'internal')
_PROTECTED = ('unauthorized', 'forbidden')
_NAMED = ('invalid_input', 'not_found')
_SENT = ('invalid_input',)
_BODY = ('invalid_input', 'too_large', 'unsupported_media_type')
_VARIABLE = re.compile(r'{(\w+)}')
#: what stands in a path, where it is not a name
_VARIABLES = {'position': {'type': 'integer', 'minimum': 0, 'maximum': 2**31 - 1}}
_NAME = {'type': 'string', 'minLength': 1, 'maxLength': 255}
_SECURITY = {
    'admin': {
        'type': 'http',
        'scheme': 'basic',
        'description': 'The user admin with the admin token as its password.',
    },
    'token': {'type': 'http', 'scheme': 'bearer', 'bearerFormat': 'JWT'},
}


def document(table):
    """:param table: dict path -> method -> :class:`obmd.api.rows.Row`.

    :returns: dict, to be sent as JSON.
    """
    components = {}
    paths = {path: _path(path, methods, components) for path, methods in sorted(table.items())}
    return {
        'openapi': '3.1.0',
        'info': {
            'title': 'obmd',
            'version': version.VERSION,
            'description': 'Power, boot device, consoles and commands of a fleet.',
        },
        'paths': paths,
        'components': {
            'schemas': dict(sorted(components.items())),
            'securitySchemes': _SECURITY,
        },
    }


def _path(path, methods, components):
    names = _VARIABLE.findall(path)
    made = {}
    if names:
        made['parameters'] = [_variable(name) for name in names]
    for method, row in methods.items():
        made[method.lower()] = _operation(row, bool(names), components)
    return made


def _variable(name):
    schema = _VARIABLES.get(name, _NAME)
    return {'name': name, 'in': 'path', 'required': True, 'schema': schema}


def _operation(row, is_named, components):
    made = {
        'operationId': _operation_id(row),
        'summary': row.summary,
        'responses': _responses(row, is_named, components),
        'security': _security(row.operations),
    }
    if row.operations:
        made['description'] = f'An access token needs one of: {", ".join(row.operations)}.'
    if row.query:
        made['parameters'] = [_parameter(*item) for item in row.query.items()]
    if row.body is not None:
        content = {'application/json': {'schema': _schema(row.body, components)}}
        made['requestBody'] = {'required': True, 'content': content}
    return made


def _operation_id(row):
    """The function's own name: its module is what it is about."""
    room = row.function.__module__.rpartition('.')[2]
    return f'{room}_{row.function.__name__}'


def _security(operations):
    if operations is rows.OPEN:
        return []
    return [{'admin': []}, {'token': []}] if operations else [{'admin': []}]


def _parameter(name, said):
    schema = {k: v for k, v in said.items() if k not in ('required', 'description')}
    made = {'name': name, 'in': 'query', 'schema': schema, 'required': bool(said.get('required'))}
    if 'description' in said:
        made['description'] = said['description']
    return made


def _responses(row, is_named, components):
    made = {}
    for status, schema in {row.status: row.answer, **row.others}.items():
        made[str(status)] = {'description': row.summary}
        if schema is not None:
            content = {'schema': _schema(schema, components)}
            made[str(status)]['content'] = {row.media: content}
    error = {'application/json': {'schema': _schema(schemas.ERROR, components)}}
    for status, kinds in sorted(_errors(row, is_named).items()):
        made[str(status)] = {'description': ', '.join(kinds), 'content': error}
    return made


def _errors(row, is_named):
    """:returns: dict status -> list of kinds."""
    kinds = {*_ALWAYS, *row.errors}
    if row.operations is not rows.OPEN:
        kinds.update(_PROTECTED)
    # a parameter that is not there is one too
    kinds.update(_SENT, _NAMED if is_named else ())
    if row.body is not None:
        kinds.update(_BODY)
    found = {}
    for kind in sorted(kinds):
        found.setdefault(api_errors.STATUS.get(kind, 500), []).append(kind)
    return found


def _schema(schema, components):
    """:returns: ``schema`` with a reference in the place of each one that has a title."""
    if isinstance(schema, list):
        return [_schema(child, components) for child in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _schema(child, components) for key, child in schema.items()}
    title = schema.get('title')
    if not isinstance(title, str):
        return made
    if components.setdefault(title, made) != made:
        raise ValueError(f'two schemas have the title {title}')
    return {'$ref': f'#/components/schemas/{title}'}
