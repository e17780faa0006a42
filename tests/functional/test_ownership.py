"""Every fault once: three conductors, sixty captured consoles, RabbitMQ and PostgreSQL.

After each fault every node is owned once by a conductor that lives, every console is captured by
its owner, nobody fights over one (asked at the simulators, all the time), and what was revoked
meanwhile stays dead.  ``make chaos`` lets the same faults happen to many more nodes.
"""

import os
import subprocess
import time

import pytest

from tests.functional import cluster as clusters
from tests.functional import faults
from tests.functional.deployment import BIN
from tests.functional.deployment import AllInOne
from tests.functional.deployment import environment
from tests.functional.deployment import write_config
from tests.functional.farm import Farm

pytestmark = [pytest.mark.needs('ipmi_sim', 'initdb'), pytest.mark.alone]


@pytest.fixture(scope='module')
def farm():
    sizes = clusters.SMALL
    with Farm(sizes.nodes, rate=sizes.rate, power_on=True, boot_delay=0.05) as farm:
        yield farm


@pytest.fixture(scope='module')
def deployed(farm, own_rabbitmq, own_postgresql):
    with clusters.deployed(farm, own_rabbitmq, own_postgresql, clusters.SMALL) as cluster:
        yield cluster


@pytest.fixture
def cluster(deployed):
    deployed.wait_balanced()
    deployed.check_calm()
    return deployed


# -- conductors -------------------------------------------------------------------------------


def test_after_kill_9_the_others_capture_everything_again(cluster):
    faults.kill(cluster, 1)


def test_a_conductor_that_was_killed_and_starts_at_once_takes_its_own_nodes_back(cluster):
    faults.kill_and_restart(cluster, 3)


def test_sigterm_and_a_join_fail_no_call_and_silence_no_console(cluster):
    faults.terminate(cluster, 2)


def test_a_conductor_stopped_for_long_gives_way_when_it_goes_on(cluster):
    faults.freeze(cluster, 1)


# -- the broker and the database --------------------------------------------------------------


def test_a_restart_of_the_broker_interrupts_no_console_and_saves_no_revoked_token(cluster):
    faults.broker_restart(cluster, 1)


def test_a_restart_of_the_database_interrupts_no_console(cluster):
    faults.database_restart(cluster, 1)


def test_a_database_that_hangs_beyond_the_grace_ends_viewers_and_no_capture(cluster):
    faults.database_outage(cluster, 1)


# -- a connection that passes nothing ---------------------------------------------------------


def test_a_conductor_cut_off_from_the_database_gives_way(cluster):
    faults.hole_to_database(cluster, 3)


def test_one_that_is_stopped_while_it_is_cut_off_ends_nobodys_console(cluster):
    faults.stop_in_hole(cluster, 3)


def test_a_conductor_cut_off_from_the_broker_goes_on_and_answers_when_it_is_back(cluster):
    faults.hole_to_broker(cluster, 2)


def test_viewers_cut_off_from_a_conductor_miss_nothing_when_the_cut_heals(cluster):
    faults.hole_to_viewers(cluster, 2)


# -- the disk of the logs ---------------------------------------------------------------------


def test_a_log_disk_that_stalls_costs_log_lines_and_nothing_else(cluster):
    faults.log_stall(cluster, 1)


# -- who may start beside whom ----------------------------------------------------------------


def refusal(split, command, config, **env):
    """Start a service that must not.  :returns: (str, the line that it says; float, seconds)."""
    began = time.monotonic()
    done = subprocess.run(
        [os.path.join(BIN, command), '--config-file', config],
        cwd=split.folder,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    return done.stderr.splitlines()[-1], time.monotonic() - began


def test_a_host_name_in_use_and_an_all_in_one_beside_conductors_are_refused(cluster, tmp_path):
    split = cluster.split
    before = cluster.begin()
    listen = {'OS_CONDUCTOR__LISTEN': '127.0.0.1:0', 'OS_API__LISTEN': '127.0.0.1:0'}
    elsewhere = listen | {'OS_DEFAULT__STATE_PATH': str(tmp_path / 'state')}
    said, seconds = refusal(split, 'obmd-conductor', split.config_of('c1'), **elsewhere)
    print(f'{said} ({seconds:.1f} s)')
    assert 'the conductor c1 (http://127.0.0.1' in said
    assert 'host name' in said
    said, _ = refusal(split, 'obmd-conductor', split.config_of('c1'), **listen)
    assert f'(c1, process {cluster.conductor(1).pid})' in said
    assert 'conductor.lock' in said
    said, seconds = refusal(
        split, 'obmd', split.config_of('c1'), **elsewhere, OS_DEFAULT__HOST='alone'
    )
    print(f'{said} ({seconds:.1f} s)')
    assert 'all-in-one must be alone' in said
    assert cluster.owners() == before
    cluster.end_well(hands=1)


def test_a_conductor_is_refused_beside_an_all_in_one(tmp_path, own_rabbitmq, own_postgresql):
    url = own_postgresql.new_database('alone')
    config = {'database': {'connection': url}, 'DEFAULT': {'host': 'alone'}}
    with AllInOne(config=config) as one:
        path = write_config(
            str(tmp_path / 'obmd.conf'),
            {
                'DEFAULT': {
                    'host': 'c1',
                    'state_path': str(tmp_path / 'state'),
                    'transport_url': own_rabbitmq.url,
                },
                'conductor': {'listen': '127.0.0.1:0'},
                'database': {'connection': url},
                'secrets': {'private_key_file': os.path.join(one.state, 'conductor.key')},
            },
        )
        said, _ = refusal(one, 'obmd-conductor', path)
        assert 'the all-in-one alone' in said
        assert 'must be alone' in said
        assert one.call('GET', '/readyz').status_code == 200
