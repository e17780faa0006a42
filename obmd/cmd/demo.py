"""The simulated BMCs of ``obmd --demo`` and the text that greets who starts it.

The BMCs keep their password, and their ports where these are still free, in ``state_path``: what
was registered once holds after a restart.
"""

import json
import os
import secrets
import shlex

from obmd.testing.fleet import Fleet

#: how many there are unless ``OBMD_DEMO_NODES`` says otherwise
DEFAULT_COUNT = 8
PREFIX = 'demo-'
USER = 'admin'

_FILE = 'demo-bmcs.json'


class Demo:
    """:param count: int, BMCs.  :param state_path: str, folder of what is kept."""

    def __init__(self, count, state_path):
        self.count = count
        self._path = os.path.join(state_path, _FILE)
        self._fleet = None

    def start(self):
        """Start the BMCs and wait until they answer.

        :returns: list of dicts ``{"name": str, "type": "ipmi", "info": dict}``; ``info`` is what
            a node is registered with and may differ from the last start's in its port.
        :raises obmd.testing.fleet.FleetError: they did not start.
        """
        kept = self._load()
        password = kept.get('password') or secrets.token_hex(8)
        self._fleet = Fleet(
            self.count,
            prefix=PREFIX,
            user=USER,
            password=password,
            ports=kept.get('ports', ()),
            suite='both',
            rate=1,
            power_on=True,
            boot_delay=0.7,
            soft_off=3,
        )
        try:
            self._fleet.start()
            self._save({'password': password, 'ports': [bmc['port'] for bmc in self._fleet.bmcs]})
        except BaseException:
            self.stop()
            raise
        return [
            {'name': bmc['name'], 'type': 'ipmi', 'info': self._fleet.info(index)}
            for index, bmc in enumerate(self._fleet.bmcs)
        ]

    def stop(self):
        """End them; harmless when done before.  They end with this process in any case."""
        if self._fleet is not None:
            self._fleet.stop()
            self._fleet = None

    def banner(self, address, token_file):
        """What to print once obmd serves.

        :param address: str, ``http://127.0.0.1:8380``.  :param token_file: str, path.
        :returns: str with five commands for a POSIX shell.
        """
        nodes = f'{PREFIX}[1-{self.count}]' if self.count > 1 else f'{PREFIX}1'
        many = f'{self.count} simulated BMCs' if self.count > 1 else '1 simulated BMC'
        node = f'{address}/node/{PREFIX}1'
        admin = f'-u "admin:$(cat {shlex.quote(token_file)})"'
        return f"""\
obmd serves {address} with {many}: {nodes}
The admin token is in {token_file}. Ctrl-C ends everything.

# a token for {PREFIX}1
TOKEN=$(curl -sS {admin} -X POST {node}/token | cut -d '"' -f 4)
# is it on?
curl -sS "{node}/power_status?token=$TOKEN"
# power it off
curl -sS -X POST "{node}/power_off?token=$TOKEN"
# on again, and its console; Ctrl-C leaves it
curl -sS -X POST "{node}/power_on?token=$TOKEN"; curl -sSN "{node}/console?token=$TOKEN"
# all of them at once
curl -sS {admin} -G --data-urlencode 'nodes={nodes}' {address}/api/v1/power
"""

    def _load(self):
        try:
            with open(self._path) as file:
                return json.load(file)
        except FileNotFoundError:
            return {}

    def _save(self, kept):
        os.makedirs(os.path.dirname(self._path) or '.', mode=0o700, exist_ok=True)
        temporary = f'{self._path}.tmp'
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, 'w') as file:
            json.dump(kept, file)
        os.replace(temporary, self._path)
