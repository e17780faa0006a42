"""The ``azure`` driver: virtual machines of Azure.

Sources: the REST reference of Microsoft.Compute (Virtual Machines: Get, Instance View, Start,
Deallocate, Restart, Update) and "States and billing status of Azure Virtual Machines".
"""

import functools
import re
import threading
import time

import requests
from azure import identity
from azure.core import exceptions
from azure.core.pipeline import transport
from azure.mgmt import compute
from azure.mgmt.compute import models
from requests import adapters

from obmd.common import errors
from obmd.conf import CONF
from obmd.drivers import base
from obmd.drivers.base import Power
from obmd.drivers.cloud import calls
from obmd.drivers.cloud import keys

#: code of a status -> ours
_STATES = {
    'PowerState/starting': Power.PENDING,
    'PowerState/running': Power.ON,
    'PowerState/stopping': Power.STOPPING,
    'PowerState/deallocating': Power.STOPPING,
    'PowerState/stopped': Power.OFF,
    'PowerState/deallocated': Power.OFF,
}
#: the power state is on its way, or there
_REACHED = {Power.ON: (Power.PENDING, Power.ON), Power.OFF: (Power.STOPPING, Power.OFF)}
#: seconds between two looks: first, what it grows by, longest
_PAUSE, _PAUSE_GROWTH, _PAUSE_MAX = 0.5, 2.0, 5.0
#: tries over again, and seconds for a connection and for an answer to one try
_RETRIES, _CONNECT, _READ = 3, 5, 10
#: characters of an answer that are passed on
_LONGEST = 300
#: what a read gives
_ANSWERS = (models.VirtualMachine, models.VirtualMachineInstanceView)
#: a name of a machine, as Azure takes it
_NAME = '^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$'
_GROUP = '^[-A-Za-z0-9_.()]{1,90}$'


class AzureDriver(base.Driver, base.Power, base.MachineType):
    """``info``: see ``schema``.  Who obmd is to Azure says ``[azure]``, the same for all nodes."""

    schema = {
        'type': 'object',
        'properties': {
            'azure_resource_group': {
                'type': 'string',
                'pattern': _GROUP,
                'description': 'Resource group of the machine.',
            },
            'azure_name': {
                'type': 'string',
                'pattern': _NAME,
                'description': "Its name there; the node's if not given.",
            },
        },
        'additionalProperties': False,
    }

    def __init__(self, node, info, sleep=time.sleep):
        super().__init__(node, info)
        self._calls = calls.Calls()
        self._sleep = sleep

    @classmethod
    def normalise(cls, info):
        return keys.check(cls.schema, info)

    @classmethod
    def from_parameters(cls, name, parameters):
        """``azure_resource_group`` and ``azure_name``."""
        return keys.take(('azure_resource_group', 'azure_name'), parameters)

    @classmethod
    def address(cls, info):
        return f'{info.get("azure_resource_group", "")}/{info.get("azure_name", "")}'

    @property
    def answer_within(self):
        return CONF.azure.timeout

    def abort(self, error):
        self._calls.abort(error)

    # -- power ------------------------------------------------------------------------------------

    def power_status(self, deadline):
        state, told = self._state(deadline)
        if state is None:
            raise errors.BmcRefused(f'the machine is {told}', self.node.name)
        return state

    def _state(self, deadline):
        """:returns: (state or None, str, what Azure calls it)."""
        view = self._call('instance_view', deadline)
        codes = [status.code or '' for status in view.statuses or ()]
        known = [code for code in codes if code in _STATES]
        if known:
            return _STATES[known[0]], known[0]
        return None, ', '.join(codes)[:_LONGEST] or 'in a state that Azure does not tell'

    def set_power(self, action, deadline):
        """``off`` and ``soft_off`` deallocate the machine, ``reset`` restarts it: Azure asks its
        system first.  ``on`` and ``off`` are there once Azure says that it starts or stops."""
        if action == Power.ON:
            self._call('begin_start', deadline, write=True)
            self._reach(Power.ON, deadline)
        elif action in (Power.OFF, Power.SOFT_OFF):
            self._call('begin_deallocate', deadline, write=True)
            self._reach(Power.OFF, deadline)
        elif action in (Power.RESET, Power.CYCLE):
            self._call('begin_restart', deadline, write=True, once=True)
        else:
            raise errors.Unsupported(f'Azure has no power {action}', self.node.name)

    def _reach(self, action, deadline):
        def look():
            state, told = self._state(deadline)
            return state in _REACHED[action], f'the machine is {told}'

        self._wait(look, f'power {action}', deadline)

    def _wait(self, look, what, deadline):
        """Until ``look()`` gives True, and what it sees."""
        pause = _PAUSE
        while True:
            done, seen = look()
            if done:
                return
            if deadline.remaining <= pause:
                raise errors.StateNotReached(f'{what} was accepted and {seen}', self.node.name)
            self._sleep(pause)
            pause = min(_PAUSE_MAX, pause * _PAUSE_GROWTH)

    # -- machine type -----------------------------------------------------------------------------

    @property
    def machine_types(self):
        return CONF.machine_types.azure

    def machine_type(self, deadline):
        return _size(self._call('get', deadline))

    def set_machine_type(self, raw, deadline):
        """Azure goes on after its answer; what comes next would be refused before it is done."""
        change = {'properties': {'hardwareProfile': {'vmSize': raw}}}
        self._call('begin_update', deadline, change, write=True)

        def look():
            machine = self._call('get', deadline)
            state = machine.properties and machine.properties.provisioning_state
            if state == 'Failed':
                raise errors.BmcRefused(f'Azure could not make it {raw}', self.node.name)
            return (state, _size(machine)) == ('Succeeded', raw), f'its change is {state}'

        self._wait(look, f'the machine type {raw}', deadline)

    # -- calls ------------------------------------------------------------------------------------

    def _call(self, operation, deadline, *arguments, write=False, once=False):
        """:param once: it may not be tried again when its outcome is not known."""
        group = self.info.get('azure_resource_group')
        if not group:
            raise keys.missing('azure_resource_group', self.node.name)
        name = self.info.get('azure_name') or self.node.name
        if re.fullmatch(_NAME, name) is None:
            raise errors.BmcRefused('azure_name is missing: the name is none of Azure', name)
        limit = deadline.within(CONF.azure.timeout)
        more = {'polling': False} if operation.startswith('begin_') else {}

        def call():
            machines = _client().virtual_machines
            with _places:
                return getattr(machines, operation)(
                    group,
                    name,
                    *arguments,
                    timeout=limit.remaining,
                    retry_total=0 if once else _RETRIES,
                    **more,
                )

        try:
            answer = self._calls.run(call, limit)
        except calls.Late:
            raise self._unanswered(write, 'Azure did not answer in time') from None
        except identity.CredentialUnavailableError as error:
            raise errors.BmcRefused(_told(error.message), self.node.name) from None
        except exceptions.HttpResponseError as error:
            raise self._refused(error, write) from None
        except (exceptions.ServiceRequestError, _NotConfigured) as error:
            kind = errors.BmcRefused if isinstance(error, _NotConfigured) else errors.BmcSilent
            raise kind(_told(str(error)), self.node.name) from None
        except exceptions.AzureError as error:
            raise self._unanswered(write, _told(str(error))) from None
        if not (write or isinstance(answer, _ANSWERS)):
            raise errors.BmcSilent('Azure: the answer is not one of Azure', self.node.name)
        return answer

    def _unanswered(self, write, reason):
        kind = errors.OutcomeUnknown if write else errors.BmcSilent
        return kind(reason, self.node.name)

    def _refused(self, error, write):
        told = error.error.message if error.error and error.error.message else error.message
        reason = _told(told or f'HTTP {error.status_code}')
        if write and (error.status_code or 0) >= 500:
            return errors.OutcomeUnknown(reason, self.node.name)
        return errors.BmcRefused(reason, self.node.name)


def _size(machine):
    hardware = machine.properties and machine.properties.hardware_profile
    size = hardware and hardware.vm_size
    # one that the library knows is an enumeration's
    return str(getattr(size, 'value', size)) if size else 'none'


def _told(text):
    """The first line of what the library says: the rest repeats it."""
    return f'Azure: {text.strip().splitlines()[0] if text.strip() else "error"}'[:_LONGEST]


# -- the client: one for all nodes -----------------------------------------------------------------

_making = threading.Lock()
#: a fleet that is asked all at once shares so many connections, which are kept
_CONNECTIONS = 64
_places = threading.BoundedSemaphore(_CONNECTIONS)


class _NotConfigured(Exception):
    pass


def _client():
    options = CONF.azure
    if not options.subscription_id:
        raise _NotConfigured('[azure] subscription_id is not set')
    with _making:
        return _made(
            options.subscription_id,
            options.tenant_id,
            options.client_id,
            options.client_secret_file,
            options.endpoint_url.rstrip('/'),
            options.authority_url,
            options.ca_file,
        )


@functools.cache
def _made(subscription, tenant, client, secret_file, endpoint, authority, ca_file):
    how = {
        'connection_verify': ca_file or True,
        'connection_timeout': _CONNECT,
        'read_timeout': _READ,
        'retry_total': _RETRIES,
    }
    if client:
        try:
            with open(secret_file) as file:
                secret = file.read().strip()
        except OSError as error:
            raise _NotConfigured(f'[azure] client_secret_file: {error.strerror}') from None
        credential = identity.ClientSecretCredential(
            tenant, client, secret, authority=authority, disable_instance_discovery=True, **how
        )
    else:
        credential = identity.ManagedIdentityCredential(**how)
    return compute.ComputeManagementClient(
        credential,
        subscription,
        base_url=endpoint,
        credential_scopes=[f'{endpoint}/.default'],
        transport=transport.RequestsTransport(session=_session(), session_owner=False, **how),
        **how,
    )


def _session():
    """The library tries again itself, and keeps ten connections if it is not told otherwise."""
    session = requests.Session()
    session.mount('https://', adapters.HTTPAdapter(pool_maxsize=_CONNECTIONS, max_retries=0))
    return session
