"""The ``aws`` driver: EC2 instances.

Sources: the EC2 API Reference (StartInstances, StopInstances, RebootInstances, DescribeInstances,
ModifyInstanceAttribute; "Error codes"; InstanceState).
"""

import functools
import threading

import boto3.session
import botocore.config
import botocore.exceptions
import botocore.loaders
import botocore.parsers
import botocore.session

from obmd.common import errors
from obmd.conf import CONF
from obmd.drivers import base
from obmd.drivers.base import Power
from obmd.drivers.cloud import calls
from obmd.drivers.cloud import gathering
from obmd.drivers.cloud import keys

#: state of an instance -> ours
_STATES = {
    'pending': Power.PENDING,
    'running': Power.ON,
    'shutting-down': Power.STOPPING,
    'stopping': Power.STOPPING,
    'stopped': Power.OFF,
}
#: what EC2 answers to a change that it has taken
_REACHED = {Power.ON: (Power.PENDING, Power.ON), Power.OFF: (Power.STOPPING, Power.OFF)}
#: connections that are kept for all nodes of a region
_CONNECTIONS = 64
#: seconds for a connection, and for an answer to one try
_CONNECT, _READ = 5, 10
_TRIES = 4
#: values of one filter ("Service quotas" of the EC2 API: 200)
_AT_ONCE = 200
#: characters of an answer that are passed on
_LONGEST = 300
#: nothing was sent
_NOT_SENT = (
    botocore.exceptions.EndpointConnectionError,
    botocore.exceptions.ConnectTimeoutError,
    botocore.exceptions.SSLError,
    botocore.exceptions.ProxyConnectionError,
)


class AwsDriver(base.Driver, base.Power, base.MachineType):
    """``info``: see ``schema``.  Who obmd is to AWS says ``[aws]``, the same for all nodes."""

    schema = {
        'type': 'object',
        'properties': {
            'ec2_id': {
                'type': 'string',
                'pattern': '^i-[0-9A-Za-z]{1,64}$',
                'description': 'Id of the instance.',
            },
            'aws_region': {
                'type': 'string',
                'pattern': '^[a-z0-9-]{1,64}$',
                'description': 'Its region; that of [aws] if not given.',
            },
        },
        'additionalProperties': False,
    }

    def __init__(self, node, info):
        super().__init__(node, info)
        self._calls = calls.Calls()

    @classmethod
    def normalise(cls, info):
        return keys.check(cls.schema, info)

    @classmethod
    def from_parameters(cls, name, parameters):
        """``ec2_id`` and ``aws_region``."""
        return keys.take(('ec2_id', 'aws_region'), parameters)

    @classmethod
    def address(cls, info):
        return f'{info.get("aws_region", "")}/{info.get("ec2_id", "")}'

    @property
    def answer_within(self):
        return CONF.aws.timeout

    def abort(self, error):
        self._calls.abort(error)

    # -- power ------------------------------------------------------------------------------------

    def power_status(self, deadline):
        return self._state(self._instance(deadline)['State'])

    def set_power(self, action, deadline):
        """``off`` and ``soft_off`` stop the instance, ``reset`` reboots it: EC2 asks its system
        first.  ``on`` and ``off`` are there once EC2 says that it starts or stops."""
        if action == Power.ON:
            self._reach(action, self._write('start_instances', deadline), 'StartingInstances')
        elif action in (Power.OFF, Power.SOFT_OFF):
            answer = self._write('stop_instances', deadline)
            self._reach(Power.OFF, answer, 'StoppingInstances')
        elif action in (Power.RESET, Power.CYCLE):
            self._write('reboot_instances', deadline, once=True)
        else:
            raise errors.Unsupported(f'EC2 has no power {action}', self.node.name)

    def _reach(self, action, answer, key):
        changes = answer.get(key) or ()
        state = self._state(changes[0]['CurrentState']) if changes else None
        if state not in _REACHED[action]:
            raise errors.StateNotReached(
                f'power {action} was accepted and the instance is {state}', self.node.name
            )

    def _state(self, told):
        name = told['Name']
        if name not in _STATES:
            raise errors.BmcRefused(f'the instance is {name}', self.node.name)
        return _STATES[name]

    # -- machine type -----------------------------------------------------------------------------

    @property
    def machine_types(self):
        return CONF.machine_types.aws

    def machine_type(self, deadline):
        return self._instance(deadline)['InstanceType']

    def set_machine_type(self, raw, deadline):
        self._change(
            'modify_instance_attribute',
            deadline,
            InstanceId=self._key('ec2_id'),
            InstanceType={'Value': raw},
        )

    # -- calls ------------------------------------------------------------------------------------

    def _key(self, name, otherwise=None):
        value = self.info.get(name) or otherwise
        if not value:
            raise keys.missing(name, self.node.name)
        return value

    def _client(self, once=False):
        """:param once: nothing may be tried again whose outcome is not known."""
        region = self._key('aws_region', CONF.aws.region)
        return _client(region, CONF.aws.endpoint_url, CONF.aws.ca_file, once)

    def _instance(self, deadline):
        ec2_id, limit = self._key('ec2_id'), deadline.within(CONF.aws.timeout)

        def call():
            return _instances(self._client()).get(ec2_id, limit)

        found = self._run(call, limit, write=False)
        if found is None:
            raise errors.BmcRefused(f'EC2: there is no instance {ec2_id}', self.node.name)
        return found

    def _write(self, operation, deadline, once=False):
        return self._change(operation, deadline, once, InstanceIds=[self._key('ec2_id')])

    def _change(self, operation, deadline, once=False, **arguments):
        limit = deadline.within(CONF.aws.timeout)

        def call():
            _limits.deadline = limit
            return getattr(self._client(once), operation)(**arguments)

        return self._run(call, limit, write=True)

    def _run(self, call, limit, write):
        try:
            return self._calls.run(call, limit)
        except calls.Late:
            raise self._unanswered(write, 'EC2 did not answer in time') from None
        except botocore.exceptions.ClientError as error:
            raise self._refused(error, write) from None
        except _NOT_SENT as error:
            raise errors.BmcSilent(_told(error), self.node.name) from None
        except botocore.exceptions.HTTPClientError as error:
            raise self._unanswered(write, _told(error)) from None
        except botocore.parsers.ResponseParserError:
            raise self._unanswered(write, 'EC2: the answer is not one of EC2') from None
        except botocore.exceptions.BotoCoreError as error:
            # no credentials, a file that is none, a region that there is not
            raise errors.BmcRefused(_told(error), self.node.name) from None

    def _unanswered(self, write, reason):
        kind = errors.OutcomeUnknown if write else errors.BmcSilent
        return kind(reason, self.node.name)

    def _refused(self, error, write):
        status = error.response.get('ResponseMetadata', {}).get('HTTPStatusCode', 400)
        told = error.response.get('Error', {})
        reason = f'EC2: {told.get("Message") or told.get("Code") or f"HTTP {status}"}'[:_LONGEST]
        if write and status >= 500:
            return errors.OutcomeUnknown(reason, self.node.name)
        return errors.BmcRefused(reason, self.node.name)


def _told(error):
    return f'EC2: {error}'[:_LONGEST]


# -- clients: one for all nodes of a region -----------------------------------------------------


def _load():
    """What the library reads for its first client takes it a quarter of a second: that is spent at
    the start and not while consoles wait.  :returns: a loader that has read it."""
    loader = botocore.loaders.create_loader()
    for kind in ('service-2', 'endpoint-rule-set-1'):
        loader.load_service_model('ec2', kind)
    for name in ('endpoints', 'partitions', 'sdk-default-configuration', '_retry'):
        loader.load_data(name)
    return loader


_loader = _load()
_making = threading.Lock()
#: of the thread that calls: until when the library may try
_limits = threading.local()


def _client(region, endpoint_url, ca_file, once):
    with _making:  # a session makes one at a time
        session = _session(CONF.aws.credentials_file, CONF.aws.profile)
        return _made(session, region, endpoint_url, ca_file, once)


@functools.cache
def _session(credentials_file, profile):
    session = botocore.session.Session()
    if credentials_file:
        session.set_config_variable('credentials_file', credentials_file)
    if profile:
        session.set_config_variable('profile', profile)
    session.register_component('data_loader', _loader)
    return boto3.session.Session(botocore_session=session)


@functools.cache
def _made(session, region, endpoint_url, ca_file, once):
    config = botocore.config.Config(
        connect_timeout=_CONNECT,
        read_timeout=_READ,
        max_pool_connections=_CONNECTIONS,
        retries={'mode': 'standard', 'total_max_attempts': 1 if once else _TRIES},
    )
    client = session.client(
        'ec2',
        region_name=region,
        endpoint_url=endpoint_url or None,
        verify=ca_file or None,
        config=config,
    )
    client.meta.events.register('before-send.ec2', _in_time)
    return client


@functools.cache
def _instances(client):
    def ask(ids, deadline):
        _limits.deadline = deadline
        # a filter passes over an id that there is not; a list of ids would fail as a whole
        answer = client.describe_instances(Filters=[{'Name': 'instance-id', 'Values': ids}])
        return {
            one['InstanceId']: one
            for group in answer.get('Reservations', ())
            for one in group.get('Instances', ())
        }

    return gathering.Gathering(ask, _AT_ONCE)


def _in_time(**_request):
    """No try is sent after the deadline, when nobody waits for it any more."""
    if _limits.deadline.expired:
        raise calls.Late
