"""SQLite with several processes at once, and under green threads."""

import subprocess
import sys
import time

import eventlet
import pytest

from obmd.conf import CONF
from obmd.db import engine
from obmd.db import nodes

COUNT = """
import sys
from obmd.conf import CONF
from obmd.db import engine, models, nodes
import sqlalchemy as sa
CONF.set_override('connection', sys.argv[1], 'database')
engine.setup()
for _ in range(50):
    with engine.writer() as session:
        seen = session.execute(sa.select(models.Node.owner_epoch)).scalar()
        session.execute(sa.update(models.Node).values(owner_epoch=seen + 1))
"""


@pytest.fixture(params=['file', 'memory'])
def url(request, tmp_path):
    made = f'sqlite:///{tmp_path}/obmd.sqlite' if request.param == 'file' else 'sqlite://'
    CONF.set_override('connection', made, 'database')
    engine.setup()
    engine.upgrade()
    nodes.create('n1', 'mock', '', 'sealed', 'key', '', 'u1')
    yield made
    engine.dispose()
    CONF.clear_override('connection', 'database')


@pytest.mark.parametrize('url', ['file'], indirect=True)
def test_processes_that_write_at_once_wait_for_each_other(url):
    running = [
        subprocess.Popen([sys.executable, '-c', COUNT, url], stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [one.communicate(timeout=60)[1] for one in running]
    assert [one.returncode for one in running] == [0, 0, 0], said
    assert nodes.get('n1').owner_epoch == 150


def test_many_green_threads_share_it(url):
    def work(number):
        assert nodes.get('n1').name == 'n1'
        nodes.set_token('n1', f'{number}', f'{number}')
        return nodes.get('n1').token_id

    threads = [eventlet.spawn(work, number) for number in range(200)]
    assert all(thread.wait() for thread in threads)


@pytest.mark.parametrize('url', ['file'], indirect=True)
def test_what_was_committed_outlives_a_killed_process(url):
    command = COUNT.replace('range(50)', 'range(10**9)')
    running = subprocess.Popen([sys.executable, '-c', command, url])
    until = time.monotonic() + 20
    while nodes.get('n1').owner_epoch < 5 and time.monotonic() < until:
        eventlet.sleep(0.05)
    running.kill()
    running.wait()
    seen = nodes.get('n1').owner_epoch
    assert seen >= 5
    engine.setup()
    assert nodes.get('n1').owner_epoch == seen
    assert nodes.set_token('n1', 'h', 'i').token_id == 'i'
