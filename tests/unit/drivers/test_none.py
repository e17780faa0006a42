"""A node without a BMC."""

import pytest

from obmd.api import validation
from obmd.common import errors
from obmd.drivers import base
from obmd.drivers import none


def test_it_can_do_nothing():
    assert base.capabilities(none.NoDriver) == []
    assert none.NoDriver.address({}) == ''
    assert none.NoDriver.from_parameters('n1', {'a': 1}) is None


def test_it_takes_nothing():
    validation.check({}, none.NoDriver.schema, 'info')
    with pytest.raises(errors.InvalidInput):
        validation.check({'password': 'x'}, none.NoDriver.schema, 'info')
