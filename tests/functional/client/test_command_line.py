"""``obm`` as a user runs it: pipes, exit statuses, signals, TLS."""

import os
import signal
import subprocess
import sys

import pytest

from tests.functional.client.api_server import ApiServer
from tests.functional.common import certificates
from tests.functional.deployment import BIN
from tests.functional.deployment import environment

TOKEN = '0123456789abcdef0123456789abcdef'


def settings(api, **more):
    """:returns: dict, an environment; nothing of the one who runs the tests is read."""
    kept = {k: v for k, v in environment().items() if not k.startswith(('OBM_', 'XDG_'))}
    return kept | {'HOME': '/nonexistent', 'OBM_URL': api.url, 'OBM_TOKEN': TOKEN} | more


def start(api, *words, command='obm', **more):
    options = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'stdin': subprocess.DEVNULL}
    env = settings(api, **more.pop('env', {}))
    return subprocess.Popen([os.path.join(BIN, command), *words], env=env, **options | more)


def run(api, *words, **more):
    """:returns: (int exit status, str stdout, str stderr)."""
    with start(api, *words, **more) as process:
        out, err = process.communicate(timeout=60)
    return process.returncode, out.decode(), err.decode()


@pytest.fixture
def api():
    with ApiServer(['n1', 'n2']) as server:
        yield server


def test_lines_come_while_the_job_runs(api):
    with start(api, 'power', 'on', 'n[1-2]') as process:
        api.say(0, 'first\n')
        assert process.stdout.readline() == b'n1: first\n'
        assert process.poll() is None
        api.say(1, 'second\n')
        assert process.stdout.readline() == b'n2: second\n'
        api.end(7)
        assert process.wait(30) == 7


def test_lines_are_what_dshbak_reads(api):
    for position in (0, 1):
        api.say(position, 'alpha\nbeta: gamma\n')
        api.exit(position)
    api.end()
    status, out, err = run(api, 'power', 'on', 'n[1-2]')
    assert (status, err) == (0, '')
    # of ClusterShell; it reads what dshbak does
    done = subprocess.run(
        [os.path.join(BIN, 'clubak'), '-b'], input=out, capture_output=True, text=True, timeout=60
    )
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert lines[1:] == ['n[1-2] (2)', '-' * 15, 'alpha', 'beta: gamma']


def test_each_node_has_files_in_a_folder(api, tmp_path):
    api.say(0, 'one\n')
    api.say(1, 'two\n', 'stderr')
    api.exit(0)
    api.exit(1, 3)
    api.end(3)
    status, out, err = run(api, 'power', 'on', 'n[1-2]', '-o', str(tmp_path / 'results'))
    assert (status, out, err) == (3, '', 'obm: n2: exit status 3\n')
    files = {path.name: path.read_text() for path in (tmp_path / 'results').iterdir()}
    assert files == {'n1.out': 'one\n', 'n2.out': '', 'n2.err': 'two\n'}


def test_a_connection_that_breaks_off_is_not_seen(api):
    api.say(0, 'one\n')
    api.break_off()
    api.say(0, 'two\n')
    api.end()
    assert run(api, 'power', 'on', 'n[1-2]') == (0, 'n1: one\nn1: two\n', '')
    assert len([one for one in api.requests if one[1].endswith('/events')]) == 2


def test_the_first_ctrl_c_cancels_the_job_and_its_end_is_told(api):
    with start(api, 'power', 'on', 'n[1-2]') as process:
        api.say(0, 'running\n')
        assert process.stdout.readline() == b'n1: running\n'
        process.send_signal(signal.SIGINT)
        assert api.cancelled.wait(30)
        api.run(0, 'ended', 'cancelled', 130)
        api.end(130)
        assert process.wait(30) == 130
        err = process.stderr.read().decode()
    assert 'cancelling job j1' in err
    assert 'n1: cancelled' in err


def test_the_second_ctrl_c_leaves(api):
    with start(api, 'power', 'on', 'n[1-2]') as process:
        api.say(0, 'running\n')
        assert process.stdout.readline() == b'n1: running\n'
        process.send_signal(signal.SIGINT)
        assert api.cancelled.wait(30)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert 'Traceback' not in process.stderr.read().decode()


def test_ctrl_c_in_a_watch_leaves_the_job_to_itself(api):
    with start(api, 'job', 'watch', 'j1') as process:
        api.say(0, 'running\n')
        assert process.stdout.readline() == b'n1: running\n'
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr.read() == b''
    assert not api.cancelled.is_set()


def test_a_reader_that_has_gone_ends_it_without_noise(api):
    with start(api, 'power', 'on', 'n[1-2]') as process:
        api.say(0, 'x\n')
        assert process.stdout.readline() == b'n1: x\n'
        process.stdout.close()
        for _ in range(50):
            api.say(0, 'y' * 4096 + '\n')
        assert process.wait(30) == 141
        assert process.stderr.read() == b''


def test_a_full_disk_is_told_with_the_job(api):
    api.say(0, 'x\n')
    with open('/dev/full', 'wb') as full:
        with start(api, 'power', 'on', 'n[1-2]', stdout=full) as process:
            assert process.wait(30) == 1
            err = process.stderr.read().decode()
    expected = 'No space left on device; the job goes on, see: obm job watch j1'
    assert err == f'obm: {expected}\n'


def test_100_megabytes_go_through_without_filling_the_memory(api):
    """Its memory is measured at its end, from what the kernel has counted."""
    block = ('x' * 1023 + '\n') * 64
    for _ in range(1600):
        api.say(0, block)
    api.end()
    command = [os.path.join(BIN, 'obm'), 'power', 'on', 'n[1-2]']
    script = (
        'import resource, subprocess, sys\n'
        'status = subprocess.call(sys.argv[1:])\n'
        'peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n'
        'print(status, peak, file=sys.stderr)\n'
    )
    with subprocess.Popen(
        [sys.executable, '-c', script, *command],
        env=settings(api),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        count = 0
        while chunk := process.stdout.read(1 << 20):
            count += len(chunk)
        status, peak = map(int, process.stderr.read().split())
    assert (status, count) == (0, 1600 * 64 * (1024 + len('n1: ')))
    assert peak < 120 * 1024


@pytest.mark.parametrize('command', ['power', 'obm-power'])
def test_power_is_a_command(api, command):
    api.say(0, 'OK\n')
    api.end()
    assert run(api, 'on', 'n1', command=command)[:2] == (0, 'n1: OK\n')


@pytest.mark.parametrize('command', ['estate', 'obm-estate'])
def test_estate_is_a_command(api, command):
    api.end(101)
    assert run(api, 'change', 'n1', 'nonsense', '--yes', command=command)[0] == 101
    (posted,) = api.asked('POST')
    assert posted[3]['arguments'] == ['nonsense']


def test_nobody_there_is_one_line():
    with ApiServer() as api:
        pass
    status, out, err = run(api, 'node', 'list')
    assert (status, out) == (1, '')
    assert err == f'obm: {api.url}: Connection refused\n'


def test_the_token_is_in_no_message_and_no_process_list(api):
    with start(api, 'power', 'on', 'n[1-2]') as process:
        api.say(0, 'x\n')
        process.stdout.readline()
        with open(f'/proc/{process.pid}/cmdline') as file:
            assert TOKEN not in file.read()
        api.end()
        out, err = process.communicate(timeout=30)
    assert TOKEN.encode() not in out + err


@pytest.fixture(scope='module')
def certificate(tmp_path_factory):
    return certificates.make(tmp_path_factory.mktemp('tls'))


@pytest.fixture
def https(certificate):
    with ApiServer(certificate=certificate) as server:
        yield server


def test_a_certificate_that_nobody_vouches_for_is_refused(https):
    status, out, err = run(https, 'job', 'show', 'j1')
    assert (status, out) == (1, '')
    assert err.startswith(f'obm: {https.url}: TLS: ')
    assert 'certificate verify failed' in err
    assert https.requests == []


def test_one_that_the_ca_file_vouches_for_is_taken(https, certificate):
    status, _, err = run(https, '--ca-file', certificate[0], 'job', 'show', 'j1')
    assert (status, err) == (0, '')


def test_one_for_another_name_is_refused(tmp_path):
    pair = certificates.make(tmp_path, names=('elsewhere.example.com',))
    with ApiServer(certificate=pair) as api:
        status, _, err = run(api, '--ca-file', pair[0], 'job', 'show', 'j1')
    assert status == 1
    assert 'TLS' in err


@pytest.mark.parametrize('how', ['option', 'environment', 'flight'])
def test_checks_can_be_switched_off(https, tmp_path, how):
    if how == 'option':
        done = run(https, '--insecure', 'job', 'show', 'j1')
    elif how == 'environment':
        done = run(https, 'job', 'show', 'j1', env={'OBM_INSECURE': '1'})
    else:
        config = tmp_path / 'config.yaml'
        config.write_text(f'base_url: {https.url}/action\nverify_ssl: false\n')
        done = run(https, '--config', str(config), 'job', 'show', 'j1')
    assert done[0] == 0


def test_an_environment_with_another_bundle_does_not_switch_checks_off(https, certificate):
    done = run(https, '--insecure', 'job', 'show', 'j1', env={'REQUESTS_CA_BUNDLE': '/dev/null'})
    assert done[0] == 0
    env = {'REQUESTS_CA_BUNDLE': certificate[0]}
    assert run(https, '--ca-file', '/etc/hostname', 'job', 'show', 'j1', env=env)[0] == 1
