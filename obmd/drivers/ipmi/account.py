"""Where a BMC is and who we are to it."""

import dataclasses

from obmd.common import errors


@dataclasses.dataclass(frozen=True)
class Account:
    """:param node: str, the node's label, for errors.

    :param host: str, address or name.  :param port: int, UDP.
    :param user, password: bytes; ``kg``: bytes or None.  pyghmi misbehaves with str.
    :param privilege: int or None: 2 user, 3 operator, 4 administrator; None takes
        administrator and, where the BMC refuses that, operator.
    :param cipher_suite: 3, 17 or None: 17, and 3 where the BMC does not know it.
    """

    node: str
    host: str
    port: int
    user: bytes = dataclasses.field(repr=False)
    password: bytes = dataclasses.field(repr=False)
    kg: bytes | None = dataclasses.field(default=None, repr=False)
    privilege: int | None = None
    cipher_suite: int | None = None

    @property
    def address(self):
        return f'[{self.host}]:{self.port}' if ':' in self.host else f'{self.host}:{self.port}'

    def error(self, cls, text):
        """:returns: an error of class ``cls`` that names the node and the BMC's address."""
        return cls(f'BMC {self.address}: {text}', self.node)

    def silent(self, text='no answer within the deadline'):
        return self.error(errors.BmcSilent, text)
