"""The session replaces and calls private names of pyghmi: they must be what they were."""

import importlib.metadata
import inspect

import pytest
from pyghmi.ipmi.events import EventHandler
from pyghmi.ipmi.private import session as pyghmi_session
from pyghmi.ipmi.private import util

from obmd.drivers.ipmi import pyghmi_pin
from obmd.drivers.ipmi import session

NAMES = sorted((pyghmi_pin.REPLACED | pyghmi_pin.CALLED).items())


def test_pyghmi_is_exactly_the_version_that_the_session_was_written_for():
    assert importlib.metadata.version('pyghmi') == pyghmi_pin.VERSION


@pytest.mark.parametrize(('name', 'signature'), NAMES, ids=[n for n, _ in NAMES])
def test_a_private_name_of_pyghmi_has_its_signature(name, signature):
    found = getattr(pyghmi_session.Session, name, None)
    assert found is not None, f'pyghmi has no Session.{name} any more'
    assert str(inspect.signature(found)) == signature, f'Session.{name} has changed'


def test_every_override_is_in_the_table():
    own = {n for n in vars(session.Rmcp) if n in vars(pyghmi_session.Session)}
    own -= {'__module__', '__doc__', '__dict__', '__weakref__'}
    assert own == set(pyghmi_pin.REPLACED)


@pytest.mark.parametrize(
    'attribute',
    pyghmi_pin.READ,
)
def test_an_attribute_that_is_shared_with_pyghmi_is_still_used_there(attribute):
    assert f'self.{attribute}' in inspect.getsource(pyghmi_session.Session), attribute


def test_the_event_decoder_takes_a_record():
    assert str(inspect.signature(EventHandler._sel_decode)) == '(self, origselentry)'
    assert str(inspect.signature(EventHandler.__init__)) == '(self, sdr, ipmicmd)'


def test_the_words_of_completion_codes_are_still_there():
    assert str(inspect.signature(util.get_ipmi_error)) == "(response, suffix='')"
