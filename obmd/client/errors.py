"""What can go wrong between a program and obmd."""


class ClientError(Exception):
    """Base of all of these; ``str()`` is a sentence for people, without any credential."""


class SettingsError(ClientError):
    """What the client was told (address, token, files) cannot be."""


class Unreachable(ClientError):
    """The server did not answer, or the connection broke off.

    After a write nobody knows whether it was carried out; the text then says so.
    """


class BadAnswer(ClientError):
    """What answers there does not speak obmd's API."""


class Refused(ClientError):
    """The server answered with an error (the manual's page "Errors").

    :ivar status: int, of HTTP.
    :ivar kind: str, for programs: ``not_found``, ``bmc_silent``, ...
    :ivar reason: str, for people.
    :ivar node: str or None, the node that it is about.
    :ivar retry_after: float seconds or None, when to ask again.
    """

    def __init__(self, status, kind, reason, node=None, retry_after=None):
        super().__init__(f'{node}: {reason}' if node else reason)
        self.status = status
        self.kind = kind
        self.reason = reason
        self.node = node
        self.retry_after = retry_after
