import json

import pytest

from obmd.common import errors


def all_errors(base=errors.ObmdError):
    for cls in base.__subclasses__():
        if cls.__module__ == errors.__name__:
            yield cls
            yield from all_errors(cls)


@pytest.mark.parametrize('cls', list(all_errors()))
def test_an_error_crosses_the_bus_as_what_it_is(cls):
    error = errors.from_wire(json.loads(json.dumps(cls('why', 'node-1', 2.5).to_wire())))
    assert type(error) is cls
    assert (error.kind, error.reason, error.node, error.retry_after) == (
        cls.kind,
        'why',
        'node-1',
        2.5,
    )
    assert str(error) == 'why'


def test_kinds_are_told_apart():
    kinds = [cls.kind for cls in all_errors()]
    assert len(set(kinds)) == len(kinds)


def test_what_is_not_known_is_not_on_the_wire():
    assert errors.NotFound('why').to_wire() == {'kind': 'not_found', 'reason': 'why'}


def test_an_unknown_kind_keeps_its_name():
    error = errors.from_wire({'kind': 'from_the_future', 'reason': 'why'})
    assert type(error) is errors.ObmdError
    assert error.to_wire() == {'kind': 'from_the_future', 'reason': 'why'}


@pytest.mark.parametrize('wire', [{}, {'kind': None}, {'reason': 'why'}])
def test_half_an_error_is_one_too(wire):
    assert type(errors.from_wire(wire)) is errors.ObmdError


def test_a_drivers_own_error_does_not_take_the_place_of_its_kind():
    class VendorRefused(errors.BmcRefused):
        pass

    assert type(errors.from_wire(VendorRefused('no').to_wire())) is errors.BmcRefused
