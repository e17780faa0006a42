"""TLS to the database, asked for in the URL."""

import pytest
import sqlalchemy as sa

from obmd.common import errors
from obmd.conf import CONF
from obmd.db import engine
from obmd.db import nodes
from tests.functional.common import certificates
from tests.functional.db.conftest import KINDS

#: of each kind: what is asked for, with a place for the authority; how an encrypted session is seen
ASKED = {'postgresql': 'sslmode=verify-full&sslrootcert={}', 'mariadb': 'ssl_ca={}'}
SEEN = {
    'postgresql': 'SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()',
    'mariadb': 'SELECT variable_value FROM information_schema.session_status '
    "WHERE variable_name = 'Ssl_version'",
}


@pytest.fixture(scope='module')
def certificate(tmp_path_factory):
    return certificates.make(tmp_path_factory.mktemp('server'))


@pytest.fixture(scope='module', params=list(KINDS))
def encrypted(request, certificate):
    with KINDS[request.param](tls=certificate) as server:
        yield request.param, server.url


@pytest.fixture
def use():
    def use(url):
        CONF.set_override('connection', url, 'database')
        engine.setup()

    yield use
    engine.dispose()
    CONF.clear_override('connection', 'database')


def test_a_certificate_of_the_authority_is_trusted(encrypted, use, certificate):
    kind, url = encrypted
    use(f'{url}?{ASKED[kind].format(certificate[0])}')
    engine.upgrade()
    assert nodes.get('n1') is None
    with engine.reader() as connection:
        assert connection.execute(sa.text(SEEN[kind])).scalar() == 'TLSv1.3'
        if kind == 'mariadb':
            # libpq was told so in the URL
            assert connection.connection.dbapi_connection.ctx.check_hostname


def test_another_authority_is_refused(encrypted, use, tmp_path):
    kind, url = encrypted
    other = certificates.make(tmp_path)[0]
    use(f'{url}?{ASKED[kind].format(other)}')
    with pytest.raises(errors.Fatal) as caught:
        engine.check_schema()
    assert '\n' not in caught.value.reason
    assert 'certificate' in caught.value.reason
    assert 'unused' not in caught.value.reason
