"""Instances of AWS and Azure as nodes of a running obmd, through the Action door."""

import contextlib
import json
import subprocess
import sys

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.functional import azure_cloud
from tests.functional import deployment
from tests.functional import flight
from tests.functional.common import certificates

REGION = 'eu-west-2'
MEDIA_TYPE = 'application/vnd.api+json'


@pytest.fixture(scope='module')
def ec2():
    server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    client = boto3.client(
        'ec2',
        region_name=REGION,
        endpoint_url=f'http://{host}:{port}',
        aws_access_key_id='a',
        aws_secret_access_key='b',
    )
    yield client
    server.stop()


@pytest.fixture(scope='module')
def azure(tmp_path_factory):
    certificate, key = certificates.make(tmp_path_factory.mktemp('tls'))
    with contextlib.closing(azure_cloud.Cloud(certificate, key)) as made:
        made.certificate = certificate
        yield made


@pytest.fixture(scope='module')
def commands(tmp_path_factory):
    """A folder of commands: ``where`` tells a node's instance."""
    folder = tmp_path_factory.mktemp('commands')
    (folder / 'where').mkdir()
    (folder / 'where' / 'metadata.yaml').write_text('help: {summary: Where}')
    (folder / 'where' / 'default.sh').write_text('#!/bin/sh\necho "$ec2_id"\n')
    (folder / 'where' / 'default.sh').chmod(0o755)
    return folder


@pytest.fixture(scope='module')
def one(ec2, azure, commands, tmp_path_factory):
    folder = tmp_path_factory.mktemp('secrets')
    (folder / 'aws').write_text('[default]\naws_access_key_id = a\naws_secret_access_key = b\n')
    (folder / 'azure').write_text('hush')
    config = {
        'drivers': {'enabled': 'none,mock,aws,azure'},
        'actions': {'command_dirs': commands},
        'aws': {'credentials_file': folder / 'aws', 'endpoint_url': ec2.meta.endpoint_url},
        'azure': {
            'subscription_id': azure_cloud.SUBSCRIPTION,
            'tenant_id': azure_cloud.TENANT,
            'client_id': 'obmd',
            'client_secret_file': folder / 'azure',
            'endpoint_url': azure.url,
            'authority_url': azure.url,
            'ca_file': azure.certificate,
        },
    }
    with deployment.AllInOne(config=config) as one:
        yield one


@pytest.fixture(scope='module')
def token(one):
    return flight.manage(one, 'generate-token', '--label', 'alice').strip()


@pytest.fixture
def run(one, token):
    """``run(command, nodes, *arguments)`` gives (sorted lines, sorted exit statuses)."""
    headers = {'Authorization': f'Bearer {token}', 'Accept': MEDIA_TYPE}

    def run(command, nodes, *arguments):
        body = {
            'data': {
                'type': 'tickets',
                'attributes': {'arguments': list(arguments)},
                'relationships': {
                    'command': {'data': {'type': 'commands', 'id': command}},
                    'context': {'data': {'type': 'groups', 'id': nodes}},
                },
            }
        }
        answer = one.call(
            'POST',
            '/action/tickets',
            data=json.dumps(body),
            headers={**headers, 'Content-Type': MEDIA_TYPE},
        )
        assert answer.status_code == 201, answer.text
        ticket = answer.json()['data']
        output = one.call('GET', f'/action{ticket["links"]["output_stream"]}', headers=headers)
        seen = one.call('GET', f'/action/tickets/{ticket["id"]}?include=jobs', headers=headers)
        jobs = [one for one in seen.json()['included'] if one['type'] == 'jobs']
        return sorted(output.text.splitlines()), sorted(j['attributes']['status'] for j in jobs)

    return run


@pytest.fixture(scope='module')
def instances(one, ec2):
    """Names of three nodes in AWS."""
    made = ec2.run_instances(
        ImageId='ami-12c6146b', MinCount=3, MaxCount=3, InstanceType='t3.medium'
    )
    for number, instance in enumerate(made['Instances'], 1):
        info = {'ec2_id': instance['InstanceId'], 'aws_region': REGION}
        one.register(f'cnode0{number}', 'aws', info)
    return 'cnode[01-03]'


@pytest.fixture(scope='module')
def machine(one, azure):
    made = azure.add('anode01')
    one.register('anode01', 'azure', {'azure_resource_group': 'hpc'})
    return made


@pytest.fixture
def manage(one, tmp_path):
    """``manage(nodes)`` imports a map of nodes.  :returns: str, what it says."""

    def manage(nodes):
        file = tmp_path / 'nodes.yaml'
        file.write_text(json.dumps(nodes))  # which is YAML
        return flight.manage(one, 'import-nodes', str(file))

    return manage


def on(name, text):
    return [f'{name}{number}: {text}' for number in ('01', '02', '03')]


def test_instances_of_aws_are_turned_off_and_on(run, instances):
    assert run('power-status', instances) == (on('cnode', 'ON'), [0] * 3)
    assert run('power-off', instances) == (on('cnode', 'OK'), [0] * 3)
    assert run('power-status', instances) == (on('cnode', 'OFF'), [123] * 3)
    assert run('power-cycle', instances) == (on('cnode', 'OK'), [0] * 3)
    assert run('power-status', instances) == (on('cnode', 'ON'), [0] * 3)


def test_the_type_of_an_instance_is_changed_while_it_is_off(run, instances):
    lines, statuses = run('estate-change', 'cnode01', 'compute-large')
    assert (lines, statuses) == (['cnode01: Changing machine type...', 'cnode01: OK'], [0])
    assert run('estate-show', 'cnode01') == (['cnode01: compute-large'], [0])
    assert run('power-status', 'cnode01') == (['cnode01: ON'], [0])
    assert run('estate-change', 'cnode01', 'compute-large') == (
        ['cnode01: Machine type already compute-large'],
        [0],
    )


def test_an_imported_instance_has_its_driver_and_its_scripts_their_parameters(
    run, ec2, manage, commands
):
    made = ec2.run_instances(
        ImageId='ami-12c6146b', MinCount=2, MaxCount=2, InstanceType='t3.medium'
    )
    first, second = (one['InstanceId'] for one in made['Instances'])
    ec2.stop_instances(InstanceIds=[second])
    node = {'ranks': ['aws'], 'ec2_id': first, 'aws_region': REGION}
    manage({'cnode11': node})
    assert run('power-status', 'cnode11') == (['cnode11: ON'], [0])
    assert run('where', 'cnode11') == ([f'cnode11: {first}'], [0])
    manage({'cnode11': {**node, 'ec2_id': second}})
    assert run('power-status', 'cnode11') == (['cnode11: OFF'], [123])


def test_a_type_that_there_is_not_is_answered_with_the_list(run, instances):
    lines, statuses = run('estate-change', 'cnode02', 'foo')
    assert statuses == [101]
    assert 'cnode02: Unknown machine type foo. Available machine types:' in lines
    assert 'cnode02: mem-large' in lines


def test_a_machine_of_azure_is_turned_off_resized_and_turned_on(run, machine):
    assert run('power-status', 'anode01') == (['anode01: ON'], [0])
    assert run('estate-change', 'anode01', 'gpu-small')[1] == [0]
    assert machine.size == 'Standard_NC6s_v3'
    assert run('estate-show', 'anode01') == (['anode01: gpu-small'], [0])
    assert run('power-off', 'anode01') == (['anode01: OK'], [0])
    machine.power = 'deallocated'
    assert run('power-status', 'anode01') == (['anode01: OFF'], [123])


def test_a_node_without_a_driver_says_what_is_missing(run, one):
    one.register('bare01', 'none', {})
    assert run('power-on', 'bare01') == (
        [
            'bare01: The default script for power-on is not supported.  Specify an appropriate '
            'rank',
            'bare01: for bare01.',
        ],
        [1],
    )


def test_a_node_without_its_key_says_which(run, one):
    one.register('cnode09', 'aws', {'aws_region': REGION})
    assert run('power-status', 'cnode09') == (
        ["cnode09: The ec2_id for node 'cnode09' has not been set!"],
        [1],
    )


def test_what_is_not_a_key_is_refused_at_registration(one):
    answer = one.as_admin(
        'PUT', '/node/bad01', json={'type': 'aws', 'info': {'ec2_id': 'i-1/../2'}}
    )
    assert answer.status_code == 400
    assert 'ec2_id' in answer.text


def test_a_console_is_refused(one, instances):
    token = one.token('cnode01')
    answer = one.call('GET', f'/node/cnode01/console?token={token}')
    assert answer.status_code == 400
    assert 'has no console' in answer.text


def test_a_conductor_that_dies_while_a_machine_is_off_turns_it_on_at_its_next_start(
    run, one, azure, token
):
    slow = azure.add('anode02')
    slow.slow = 10**6
    one.register('anode02', 'azure', {'azure_resource_group': 'hpc'})
    headers = {'Authorization': f'Bearer {token}', 'Content-Type': MEDIA_TYPE}
    relationships = {
        'command': {'data': {'type': 'commands', 'id': 'estate-change'}},
        'context': {'data': {'type': 'nodes', 'id': 'anode02'}},
    }
    data = {'type': 'tickets', 'attributes': {'arguments': ['mem-large']}}
    body = json.dumps({'data': {**data, 'relationships': relationships}})
    assert one.call('POST', '/action/tickets', data=body, headers=headers).status_code == 201
    deployment.wait_until(lambda: slow.power == 'deallocating', 30, 'the machine going off')
    one.kill()
    slow.power, slow.slow = 'deallocated', 1
    one.start()
    deployment.wait_until(lambda: slow.power in ('starting', 'running'), 60, 'its start')


def test_libraries_of_clouds_are_not_imported_unless_their_driver_is_enabled():
    code = (
        'import sys, obmd.cmd.all_in_one_service\n'
        'from obmd.drivers import registry\n'
        'registry.load()\n'
        'print(sorted({"azure", "boto3", "botocore", "msal"} & set(sys.modules)))\n'
    )
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code],
        env=deployment.environment(),
        capture_output=True,
        text=True,
    )
    assert done.stdout == '[]\n', done.stderr
