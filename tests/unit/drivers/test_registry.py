import types

import pytest

from obmd.common import errors
from obmd.conf import CONF
from obmd.drivers import base
from obmd.drivers import dummy
from obmd.drivers import mock
from obmd.drivers import registry


@pytest.fixture(autouse=True)
def _own(monkeypatch):
    monkeypatch.setattr(registry, '_enabled', {})


@pytest.fixture
def enable():
    def change(*names):
        CONF.set_override('enabled', list(names), 'drivers')

    yield change
    CONF.clear_override('enabled', 'drivers')


def played(monkeypatch, **plugins):
    """Entry points whose import gives what is said, or raises it."""

    def manager(_namespace, names, on_load_failure_callback, **_kwargs):
        found = []
        for name in names:
            plugin = plugins.get(name)
            if isinstance(plugin, Exception):
                on_load_failure_callback(None, types.SimpleNamespace(name=name), plugin)
            elif plugin is not None:
                found.append(types.SimpleNamespace(name=name, plugin=plugin))
        return found

    monkeypatch.setattr(registry.named, 'NamedExtensionManager', manager)


def test_the_drivers_that_come_with_it_are_found(enable):
    enable('mock', 'dummy')
    registry.load()
    assert registry.enabled() == {'mock': mock.MockDriver, 'dummy': dummy.DummyDriver}


def test_a_driver_that_is_not_installed_is_named(enable):
    enable('mock', 'nosuch')
    with pytest.raises(errors.Fatal, match='nosuch'):
        registry.load()
    assert registry.enabled() == {}


def test_none_at_all_is_no_crash(enable):
    enable('nosuch')
    with pytest.raises(errors.Fatal, match='nosuch'):
        registry.load()


def test_a_driver_that_cannot_be_imported_is_named_with_the_reason(enable, monkeypatch):
    played(monkeypatch, vendor=ImportError('No module named vendorlib'))
    enable('vendor')
    with pytest.raises(errors.Fatal, match='vendor cannot be imported: No module named vendorlib'):
        registry.load()


def test_a_real_entry_point_that_cannot_be_imported_is_fatal_too(enable, tmp_path, monkeypatch):
    folder = tmp_path / 'vendor-1.0.dist-info'
    folder.mkdir()
    (folder / 'METADATA').write_text('Metadata-Version: 2.1\nName: vendor\nVersion: 1.0\n')
    (folder / 'entry_points.txt').write_text('[obmd.drivers]\nvendor = vendor_driver:Driver\n')
    (tmp_path / 'vendor_driver.py').write_text('import a_library_that_is_not_there\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    from stevedore import _cache
    from stevedore import extension

    monkeypatch.setattr(_cache, '_c', _cache.Cache(str(tmp_path / 'cache')))
    monkeypatch.setattr(extension.ExtensionManager, 'ENTRY_POINT_CACHE', {})
    enable('vendor')
    with pytest.raises(errors.Fatal, match='a_library_that_is_not_there'):
        registry.load()


@pytest.mark.parametrize('plugin', [lambda: None, object(), dict, 'text'])
def test_what_is_no_driver_is_refused_at_the_start(enable, monkeypatch, plugin):
    played(monkeypatch, vendor=plugin)
    enable('vendor')
    with pytest.raises(errors.Fatal, match='vendor'):
        registry.load()


def test_a_name_said_twice_is_one_driver(enable):
    enable('mock', 'mock')
    registry.load()
    assert list(registry.enabled()) == ['mock']


def test_a_type_is_a_name_or_an_alias(enable):
    enable('mock', 'dummy')
    registry.load()
    alias = 'http://schema.massopencloud.org/haas/v0/obm/mock'
    assert registry.resolve('mock') == ('mock', mock.MockDriver)
    assert registry.resolve(alias) == ('mock', mock.MockDriver)
    assert registry.get(alias) is mock.MockDriver


@pytest.mark.parametrize('name', ['nosuch', '', 'Mock', 'ipmi'])
def test_an_unknown_or_disabled_type_is_told_what_is_enabled(enable, name):
    enable('mock', 'dummy')
    registry.load()
    with pytest.raises(errors.InvalidInput, match='dummy, mock'):
        registry.resolve(name)


def test_what_is_told_to_be_enabled_cannot_be_changed_from_outside(monkeypatch):
    monkeypatch.setattr(registry, '_enabled', {'a': base.Driver})
    registry.enabled().clear()
    assert registry.get('a') is base.Driver
