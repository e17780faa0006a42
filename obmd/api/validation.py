"""Checking a body against a JSON schema, in words that name the field and never its value."""

import functools
import json

import jsonschema
from jsonschema import exceptions

from obmd.common import errors

#: characters of an unknown name that a refusal repeats
_SHOWN = 64


def check(value, schema, where=''):
    """:param where: str, what ``value`` is a part of, e.g. ``info``.

    :raises InvalidInput: naming the field.
    """
    found = exceptions.best_match(_validator(json.dumps(schema)).iter_errors(value))
    if found is not None:
        raise errors.InvalidInput(_describe(found, where))


@functools.lru_cache(maxsize=256)
def _validator(text):
    return jsonschema.Draft202012Validator(json.loads(text))


def _describe(error, where):
    path = [*filter(None, [where]), *map(str, error.absolute_path)]
    field = '.'.join(path) or 'the body'
    rule, value = error.validator, error.validator_value
    if rule == 'required':
        missing = [name for name in value if name not in error.instance]
        return f'{".".join([*path, missing[0]])} is missing'
    if rule == 'type':
        kinds = [value] if isinstance(value, str) else value
        return f'{field} must be {" or ".join(kinds)}'
    if rule in ('enum', 'const'):
        legal = value if rule == 'enum' else [value]
        return f'{field} must be one of: {", ".join(map(str, legal))}'
    if rule == 'additionalProperties':
        unknown = sorted(set(error.instance) - set(error.schema.get('properties', ())))
        known = ', '.join(error.schema.get('properties', ())) or 'none'
        return f'{".".join([*path, unknown[0][:_SHOWN]])} is not known; the fields are: {known}'
    if rule in _BOUNDS:
        return f'{field} must have {_BOUNDS[rule]} {value}'
    if rule in ('anyOf', 'oneOf'):
        return f'{field} lacks one of its fields, or has too many'
    return f'{field} is not as the driver or the API describes it ({rule})'


_BOUNDS = {
    'minLength': 'a length of at least',
    'maxLength': 'a length of at most',
    'minimum': 'a value of at least',
    'maximum': 'a value of at most',
    'exclusiveMinimum': 'a value above',
    'exclusiveMaximum': 'a value below',
    'minItems': 'a number of items of at least',
    'maxItems': 'a number of items of at most',
    'maxProperties': 'a number of fields of at most',
}
