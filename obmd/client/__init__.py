"""The SDK: obmd's own API, ``/api/v1``, for programs; the ``obm`` command line is made of it.

.. code-block:: python

   from obmd.client import Client

   with Client('https://obmd.example.com', token=token) as obm:
       job = obm.jobs.start('power-off', nodes='rack1n[01-20]')
       for event in obm.jobs.events(job['id']):
           print(event.name, event.data)

Answers are what the API answers, as dicts; the manual says what is in them.  Node ranges and
``@groups`` are sent to the server as they are.
"""

from obmd.client.client import Client
from obmd.client.errors import BadAnswer
from obmd.client.errors import ClientError
from obmd.client.errors import Refused
from obmd.client.errors import SettingsError
from obmd.client.errors import Unreachable
from obmd.client.events import Event

__all__ = [
    'BadAnswer',
    'Client',
    'ClientError',
    'Event',
    'Refused',
    'SettingsError',
    'Unreachable',
]
