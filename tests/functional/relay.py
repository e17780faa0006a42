"""TCP relays that can become black holes: nothing passes any more, and nobody is told.

    python -m tests.functional.relay LISTEN:TARGET ...      (ports on loopback)

reads ``hole LISTEN`` and ``heal LISTEN`` on stdin and answers ``ok``.  A process of its own, so
that nothing that the tests do slows it down.
"""

import asyncio
import subprocess
import sys

from tests.functional.farm import ROOT
from tests.functional.services import free_port


class Relays:
    """:param targets: dict of name -> port of 127.0.0.1.

    :ivar ports: dict of name -> port that leads there.
    """

    def __init__(self, targets):
        self.ports = {name: free_port() for name in targets}
        pairs = [f'{self.ports[name]}:{port}' for name, port in targets.items()]
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'tests.functional.relay', *pairs],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout.readline() == 'ready\n'

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()

    def hole(self, name):
        self._say('hole', name)

    def heal(self, name):
        self._say('heal', name)

    def _say(self, word, name):
        self._process.stdin.write(f'{word} {self.ports[name]}\n')
        self._process.stdin.flush()
        assert self._process.stdout.readline() == 'ok\n'


class _Relay:
    def __init__(self, target):
        self._target = target
        self.open = asyncio.Event()
        self.open.set()

    async def accept(self, reader, writer):
        await self.open.wait()
        try:
            far_reader, far_writer = await asyncio.open_connection('127.0.0.1', self._target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))

    async def _pass(self, reader, writer):
        try:
            while data := await reader.read(65536):
                await self.open.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        await self.open.wait()  # nor does the end of a connection pass
        writer.close()


async def _main(pairs):
    relays, servers = {}, []
    for pair in pairs:
        port, target = map(int, pair.split(':'))
        relays[port] = _Relay(target)
        servers.append(await asyncio.start_server(relays[port].accept, '127.0.0.1', port))
    stdin = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(stdin)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    print('ready', flush=True)
    while line := await stdin.readline():
        word, port = line.decode().split()
        gate = relays[int(port)].open
        gate.clear() if word == 'hole' else gate.set()
        print('ok', flush=True)


if __name__ == '__main__':
    asyncio.run(_main(sys.argv[1:]))
