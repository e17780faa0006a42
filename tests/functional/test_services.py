"""The private servers that other tests stand on."""

import os
import socket

import pytest

from tests.functional import services


def listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(('127.0.0.1', port)) == 0


@pytest.mark.parametrize('kind', [services.PostgreSQL, services.MariaDB, services.RabbitMQ])
def test_a_service_keeps_its_port_over_restarts_and_leaves_nothing(kind):
    assert kind.missing() is None
    with kind() as service:
        url, port, folder = service.url, service.port, service.folder
        assert listening(port)
        service.kill()
        assert not listening(port)
        service.start()
        service.stop()
        assert not listening(port)
        service.start()
        assert listening(port)
        assert service.url == url
    assert not listening(port)
    assert not os.path.exists(folder)


@pytest.mark.parametrize('kind', [services.PostgreSQL, services.MariaDB])
def test_a_database_keeps_what_was_committed_when_it_is_killed(kind):
    with kind() as server:
        server.query('CREATE TABLE t AS SELECT 42 AS x')
        server.kill()
        server.start()
        assert server.query('SELECT x FROM t') == '42\n'
