"""One object that stands for one obmd."""

from obmd.client import audit
from obmd.client import commands
from obmd.client import drivers
from obmd.client import groups
from obmd.client import jobs
from obmd.client import nodes
from obmd.client import tokens
from obmd.client import transport


class Client:
    """:param url: str, ``https://obmd.example.com``.
    :param token: str, a JWT, or the admin's token.
    :param options: of :class:`obmd.client.transport.Transport`: ``ca_file``, ``insecure``,
        ``timeout``, ``patience``.
    :raises SettingsError:

    Every method may raise :class:`~obmd.client.errors.ClientError`.  It may be used by several
    threads.
    """

    def __init__(self, url, token=None, **options):
        self.transport = transport.Transport(url, token, **options)
        self.nodes = nodes.Nodes(self.transport)
        self.groups = groups.Groups(self.transport)
        self.commands = commands.Commands(self.transport)
        self.jobs = jobs.Jobs(self.transport)
        self.drivers = drivers.Drivers(self.transport)
        self.tokens = tokens.Tokens(self.transport)
        self.audit = audit.Audit(self.transport)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        self.transport.close()
