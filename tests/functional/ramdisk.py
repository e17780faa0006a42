"""A machine that has booted into ironic-python-agent, as far as obmd sees it.

The agent is the one from PyPI, with its own client, in a process of its own: it reads options from
oslo.config's global object, where obmd's are in the tests' process, and one that boots again has
forgotten everything, as a new process has.

    python -m tests.functional.ramdisk URL MAC[,MAC] [OPTION ...]

reads JSON objects from standard input, a line each, and answers each with a line.
"""

import contextlib
import json
import subprocess
import sys
import types

from tests.functional.farm import ROOT

#: where agents say that they are: nobody's, and never called (RFC 5737)
ADDRESS = '192.0.2.10'
PORT = 9999
#: seconds that an answer of the agent may take
PATIENCE = 90.0


class Refused(Exception):
    """The agent's client raised something; the text has the class and what the API said."""


class Ramdisk:
    """Runs for as long as the ``with`` lasts.

    :param url: str, of obmd, as in the kernel's command line.
    :param macs: str, MAC addresses of its interfaces.
    :param options: of ironic-python-agent, e.g. ``cafile='/ca.pem'``.
    :ivar token: str, what it got at its lookup, or None.
    :ivar locked: bool, it knows that somebody else has its token and would serve nobody.
    """

    def __init__(self, url, *macs, **options):
        self.token = None
        self.locked = False
        self._command = [sys.executable, '-m', 'tests.functional.ramdisk', url, ','.join(macs)]
        self._command += [f'--{name}={value}' for name, value in options.items()]

    def __enter__(self):
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self

    def __exit__(self, *unused):
        self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def lookup(self, timeout=0, node_uuid=None):
        """Look its node up and take over what the answer says.

        :param timeout: seconds for which it tries again.  :returns: dict, the answer.
        :raises Refused:
        """
        told = self._ask(do='lookup', timeout=timeout, node_uuid=node_uuid)
        self.token, self.locked = told['token'], told['locked']
        return told['content']

    def heartbeat(self, address=ADDRESS, protocol='https', certificate=None, **changes):
        """:param certificate: str, PEM, told to obmd.

        :param changes: ``uuid`` of another node, ``token`` instead of its own.  :raises Refused:
        """
        self._ask(
            do='heartbeat', address=address, protocol=protocol, certificate=certificate, **changes
        )

    def _ask(self, **question):
        self._process.stdin.write(json.dumps(question) + '\n')
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, 'the agent is gone'
        told = json.loads(line)
        if 'refused' in told:
            raise Refused(told['refused'])
        return told


def main(url, macs, *options):
    from ironic_python_agent import agent
    from ironic_python_agent import config  # noqa: F401  registers the options
    from oslo_config import cfg

    cfg.CONF(list(options), project='agent', default_config_files=[], default_config_dirs=[])
    at = agent.Host(ADDRESS, PORT)
    running = agent.IronicPythonAgent(url, at, at, 1, 1, None, 1, 1, False, None, 0, 'https')
    interfaces = [types.SimpleNamespace(mac_address=mac) for mac in macs.split(',')]
    for line in sys.stdin:
        try:
            told = _act(running, interfaces, **json.loads(line))
        except Exception as error:
            told = {'refused': f'{type(error).__name__}: {error}'}
        print(json.dumps(told), flush=True)


def _act(running, interfaces, do, **question):
    if do == 'lookup':
        return _lookup(running, interfaces, **question)
    return _heartbeat(running, **question)


def _lookup(running, interfaces, timeout, node_uuid):
    from ironic_python_agent import hardware

    content = running.api_client.lookup_node(
        {'interfaces': interfaces}, timeout, 0.2, node_uuid=node_uuid, max_interval=1
    )
    hardware.NODE = content['node']  # known already: it does not wait for this machine's disks
    running.process_lookup_data(content)
    return {'content': content, 'token': running.agent_token, 'locked': running.lockdown}


def _heartbeat(running, address, protocol, certificate, **changes):
    from ironic_python_agent import agent

    client = running.api_client
    client.agent_token = changes.get('token', running.agent_token)
    uuid = changes.get('uuid') or running.get_node_uuid()
    client.heartbeat(uuid, agent.Host(address, PORT), protocol, certificate)
    return {}


if __name__ == '__main__':
    main(*sys.argv[1:])
