"""``/api/v1/drivers``: what each driver says of itself."""

import pytest

from tests.unit.api import drivers
from tests.unit.api.conftest import error


def test_every_enabled_driver_is_listed(api, admin):
    listed = api.app.get('/api/v1/drivers', headers=admin).json['drivers']
    assert [driver['name'] for driver in listed] == sorted(drivers.ALL)


def test_a_driver_tells_what_it_can_and_takes(api, admin):
    told = api.app.get('/api/v1/drivers/picky', headers=admin).json
    assert told == {
        'name': 'picky',
        'aliases': ['http://example.org/picky'],
        'capabilities': ['event_log', 'power'],
        'boot_devices': [],
        'secret_fields': ['password'],
        'info_schema': drivers.Picky.schema,
    }


def test_any_boot_device_is_null(api, admin):
    assert api.app.get('/api/v1/drivers/dummy', headers=admin).json['boot_devices'] is None


@pytest.mark.parametrize('name', ['nosuch', '%00', 'x' * 300])
def test_another_name_is_404(api, admin, name):
    answer = api.app.get(f'/api/v1/drivers/{name}', headers=admin, status=404)
    assert 'picky' in error(answer)['reason']


@pytest.mark.parametrize('path', ['/api/v1/drivers', '/api/v1/drivers/mock'])
def test_credentials_are_needed(api, path):
    api.app.get(path, status=401)
