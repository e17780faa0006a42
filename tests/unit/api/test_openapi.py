"""The OpenAPI document says what the table does."""

import json

import jsonschema
import pytest

from obmd.api import errors as api_errors
from obmd.api import openapi
from obmd.api import rows
from obmd.api import v1


def nothing(request, services):
    """A function of a row."""


@pytest.fixture(scope='module')
def document():
    # what a client gets
    return json.loads(json.dumps(openapi.document(v1.ROUTES)))


def operations(document):
    for path, said in document['paths'].items():
        for method, operation in said.items():
            if method != 'parameters':
                yield path, method, operation


def test_every_row_is_in_it(document):
    told = {(path, method.upper()) for path, method, _ in operations(document)}
    assert told == {(path, method) for path, found in v1.ROUTES.items() for method in found}


def test_every_operation_has_a_name_of_its_own(document):
    names = [operation['operationId'] for *_, operation in operations(document)]
    assert len(set(names)) == len(names)


def test_every_reference_leads_somewhere(document):
    text = json.dumps(document)
    for name in document['components']['schemas']:
        text = text.replace(f'"#/components/schemas/{name}"', '""')
    assert '#/components' not in text


def test_every_schema_is_one(document):
    for schema in document['components']['schemas'].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_variable_of_a_path_is_declared(document):
    for path, said in document['paths'].items():
        declared = {variable['name'] for variable in said.get('parameters', ())}
        assert all(f'{{{name}}}' in path for name in declared)
        assert path.count('{') == len(declared)


def test_only_what_is_open_says_so(document):
    is_open = {path for path, _, operation in operations(document) if not operation['security']}
    assert is_open == {'/api/v1/openapi.json'}


def test_every_kind_of_error_that_a_row_names_exists():
    for methods in v1.ROUTES.values():
        for row in methods.values():
            assert set(row.errors) <= set(api_errors.STATUS)


def test_two_schemas_cannot_have_one_title():
    answers = [{'title': 'A', 'type': 'object'}, {'title': 'A', 'type': 'string'}]
    table = {f'/{n}': {'GET': rows.Row(nothing, '', answer=a)} for n, a in enumerate(answers)}
    with pytest.raises(ValueError, match='A'):
        openapi.document(table)


def test_a_token_is_offered_only_where_one_is_enough():
    table = {
        '/a': {'GET': rows.Row(nothing, '', rows.ADMIN_ONLY)},
        '/b': {'GET': rows.Row(nothing, '', ('power',))},
    }
    paths = openapi.document(table)['paths']
    assert paths['/a']['get']['security'] == [{'admin': []}]
    assert paths['/b']['get']['security'] == [{'admin': []}, {'token': []}]


def test_it_is_given_without_credentials_and_without_what_is_here(api, node):
    answer = api.app.get('/api/v1/openapi.json', status=200)
    assert answer.headers['Content-Type'] == 'application/json'
    assert answer.json['openapi'] == '3.1.0'
    assert '"n1"' not in answer.text
