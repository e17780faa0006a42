"""The unit tests' promises, kept by PostgreSQL and by MariaDB."""

import sqlalchemy as sa

from obmd.db import agents
from obmd.db import engine
from obmd.db import models
from tests.unit.db.test_agents import *  # noqa: F403


def test_what_has_many_addresses_is_found_by_their_index(database):
    macs = [f'52:54:00:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}' for n in range(20000)]
    ports = models.Port.__table__
    postgresql = engine.current().dialect.name == 'postgresql'
    try:
        with engine.writer() as session:
            rows = [{'mac': mac, 'node_uuid': f'u{n // 2}'} for n, mac in enumerate(macs)]
            session.execute(sa.insert(ports), rows)
            session.execute(sa.text('ANALYZE ports' if postgresql else 'ANALYZE TABLE ports'))
        literal = {'literal_binds': True, 'render_postcompile': True}
        asked = agents._OF_MACS.params(macs=macs[::200] + ['00:00:00:00:00:00'] * 28)
        text = str(asked.compile(engine.current(), compile_kwargs=literal))
        with engine.reader() as session:
            plan = session.execute(sa.text(f'EXPLAIN {text}'.replace(':', '\\:'))).mappings().all()
    finally:
        with engine.writer() as session:
            session.execute(sa.delete(ports))
    if postgresql:
        assert 'ports_pkey' in str(plan)
        assert 'Seq Scan on ports' not in str(plan)
    else:
        assert {row['table']: row['key'] for row in plan}['ports'] == 'PRIMARY'
