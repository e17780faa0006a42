"""Commands over many nodes: scripts beside ``xargs -P``, power through the Action door, output."""

import contextlib
import json
import os
import stat
import subprocess
import threading
import time

from bench import clients
from bench import daemon
from bench.lab import range_of
from bench.report import Row
from bench.report import Samples

_MEDIA = 'application/vnd.api+json'
#: how slower than xargs a job may be, and how many scripts run at once
SLOWER, PARALLEL = 1.5, (8, 32)
#: bytes of one job's output
FLOOD = 100_000_000
#: bytes by which the memory may grow while they are passed on: the pieces on their way
RING = 32_000_000
#: jobs at once, each with a reader
READERS = 50


def scripts(lab):
    """A script that does nothing on nodes without a BMC, in turns with xargs; output; readers."""
    lab.end()
    count = lab.sizes.nodes
    with _obmd() as obmd:
        obmd.register({f'node{n + 1}': ('mock', {}) for n in range(count)})
        obmd.wait_for('owner IS NOT NULL', count, 60)
        nodes = f'node[1-{count}]'
        rows, posts = [], []
        for parallel in PARALLEL:
            ours, theirs = [], []
            for _ in range(lab.sizes.repetitions):
                theirs.append(_xargs(obmd.script, count, parallel))
                posted, took = _run(obmd, 'nothing', nodes, parallel)
                ours.append(took)
                posts.append(posted * 1000)
            rows.append(
                Row(
                    f'job_{parallel}',
                    f'script on {count} nodes, {parallel} at once',
                    Samples(ours).median,
                    's',
                    round(1 / SLOWER, 3),
                    bound_on_ratio=True,
                    samples=Samples(ours),
                    peer=Samples(theirs),
                    peer_name=f'xargs -P {parallel}',
                )
            )
        posts = Samples(posts)
        what = f'POST of {count} nodes'
        rows.append(Row('job_post', what, posts.median, 'ms', 50, samples=posts))
        return [*rows, *_output(obmd), _readers(obmd)]


def power(lab):
    """``power-status`` as a user's ticket: from its POST to the end of its stream."""
    bmcs = lab.quiet()[: lab.sizes.nodes]
    nodes, token = range_of(bmcs), _token(lab.obmd)
    turns = range(lab.sizes.repetitions + 1)
    took = [_ticket(lab.obmd, token, nodes, len(bmcs)) for _ in turns]
    warm = Samples(took[1:])
    what = f'power-status of {len(bmcs)} by a ticket'
    return [
        Row('job_power', what, warm.median, 's', 4.0, samples=warm),
        Row('job_power_cold', f'{what}, logins included', took[0], 's'),
    ]


# -- what is run ------------------------------------------------------------------------------


@contextlib.contextmanager
def _obmd():
    made = daemon.Obmd()
    folder = os.path.join(made.folder, 'commands')
    made.options['actions.command_dirs'] = folder
    _command(folder, 'nothing', 'exit 0')
    _command(folder, 'flood', f'head -c {FLOOD} /dev/zero')
    _command(folder, 'word', 'echo a word')
    made.script = os.path.join(folder, 'nothing', 'default.sh')
    with made:
        yield made


def _command(folder, name, text):
    os.makedirs(os.path.join(folder, name))
    with open(os.path.join(folder, name, 'metadata.yaml'), 'w') as file:
        file.write('help:\n  summary: of the benchmark\n')
    path = os.path.join(folder, name, 'default.sh')
    with open(path, 'w') as file:
        file.write(f'#!/bin/bash\n{text}\n')
    os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)


def _xargs(script, count, parallel):
    """:returns: seconds."""
    names = ''.join(f'node{n + 1}\n' for n in range(count))
    command = ['xargs', '-P', str(parallel), '-n', '1', script]
    started = time.monotonic()
    subprocess.run(command, input=names.encode(), check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - started


def _post(obmd, command, nodes, limit=None):
    """:returns: (str path of the job, seconds until the answer)."""
    body = {'command': command, 'arguments': [], 'nodes': nodes}
    if limit is not None:
        body['limit'] = limit
    data, started = obmd.admin('POST', '/api/v1/jobs', body), time.monotonic()
    answer = clients.exchange(obmd.address, data, 201)
    return f'/api/v1/jobs/{json.loads(answer.body)["id"]}', time.monotonic() - started


def _run(obmd, command, nodes, limit=None):
    """:returns: (seconds of the POST, seconds until the events have ended)."""
    started = time.monotonic()
    path, posted = _post(obmd, command, nodes, limit)
    connection = clients.Connection(obmd.address)
    with contextlib.closing(connection):
        last, data = started, b''
        for last, data in connection.follow(obmd.admin('GET', f'{path}/events')):  # noqa: B007
            tail = data
    if b'"ended"' not in tail and not data.endswith(b'0\r\n\r\n'):
        raise clients.BadAnswer(f'the events did not end: {data[-200:]}')
    told = json.loads(obmd.ask('GET', path).body)
    if told['state'] != 'ended' or told['status'] != 0:
        raise clients.BadAnswer(told)
    return posted, last - started


def _output(obmd):
    before = obmd.memory()
    path, _ = _post(obmd, 'flood', 'node1')
    connection = clients.Connection(obmd.address)
    size, most, started = 0, before, time.monotonic()
    with contextlib.closing(connection):
        data = obmd.admin('GET', f'{path}/runs/0/output?stream=stdout')
        for number, (_, chunk) in enumerate(connection.follow(data)):
            size += len(chunk)
            if number % 200 == 0:
                most = max(most, obmd.memory())
    took = time.monotonic() - started
    if size < FLOOD:
        raise clients.BadAnswer(f'{size} of {FLOOD} bytes came')
    grown = (max(most, obmd.memory()) - before) / 1e6
    what = f'{FLOOD // 1_000_000} MB of output'
    return [
        Row('job_output', f'{what}, growth of memory', max(0.0, grown), 'MB', RING / 1e6),
        Row('job_output_rate', what, FLOOD / took / 1e6, 'MB/s'),
    ]


def _readers(obmd):
    """Jobs with a reader each; the reader of one, which writes without end, reads nothing."""
    path, _ = _post(obmd, 'flood', 'node1')
    stuck = clients.Connection(obmd.address)
    with contextlib.closing(stuck):
        next(stuck.follow(obmd.admin('GET', f'{path}/runs/0/output?stream=stdout')))
        times, lock = [], threading.Lock()

        def read():
            took = _run(obmd, 'word', 'node1')[1]
            with lock:
                times.append(took)

        threads = [threading.Thread(target=read) for _ in range(READERS - 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(clients.PATIENCE)
    if len(times) < READERS - 1:
        raise clients.BadAnswer(f'{len(times)} of {READERS - 1} readers have seen the end')
    what = f'the slowest of {READERS - 1} jobs beside one that nobody reads'
    return Row('job_readers', what, max(times), 's', samples=Samples(times))


# -- the Action door --------------------------------------------------------------------------


def _token(obmd):
    answer = clients.exchange(obmd.address, obmd.admin('POST', '/api/v1/tokens', {}), 201)
    return json.loads(answer.body)['token']


def _ticket(obmd, token, nodes, count):
    """:returns: seconds."""
    body = {
        'data': {
            'type': 'tickets',
            'attributes': {'arguments': []},
            'relationships': {
                'command': {'data': {'type': 'commands', 'id': 'power-status'}},
                'context': {'data': {'type': 'groups', 'id': nodes}},
            },
        }
    }
    bearer = {'Authorization': f'Bearer {token}', 'Accept': _MEDIA}
    content = json.dumps(body).encode()
    more = {**bearer, 'Content-Type': _MEDIA, 'Content-Length': str(len(content))}
    started = time.monotonic()
    data = clients.request('POST', '/action/tickets', headers=more) + content
    answer = clients.exchange(obmd.address, data, 201)
    stream = json.loads(answer.body)['data']['links']['output_stream']
    connection = clients.Connection(obmd.address)
    lines = 0
    with contextlib.closing(connection):
        data = clients.request('GET', f'/action{stream}', headers=bearer)
        for last, chunk in connection.follow(data):  # noqa: B007
            lines += chunk.count(b': ON\n')
    if lines != count:
        raise clients.BadAnswer(f'{lines} of {count} nodes said ON')
    return last - started
