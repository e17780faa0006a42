"""How many logins to BMCs are under way at once, as the network sees it.

    python -m tests.functional.logins PORT

listens on the loopback interface (it needs CAP_NET_RAW) to RMCP+ session setup (IPMI 2.0 section
13.17 to 13.24): a login is under way from its Open Session Request to its RAKP Message 4.  Prints
a line of JSON when it is told to end.
"""

import json
import signal
import socket
import subprocess
import sys

from tests.functional.farm import ROOT

#: of socket(7) and packet(7): all protocols; a packet that leaves (loopback shows each twice)
_ETH_P_ALL, _PACKET_OUTGOING = 3, 4
_ETHERNET, _UDP = 14, 17
#: payload types, IPMI 2.0 table 13-16
_OPEN_SESSION_REQUEST, _RAKP_4 = 0x10, 0x15
_RMCP_PLUS = 0x06


class Logins:
    """Watches a port of BMCs for as long as the ``with`` lasts.

    :ivar most: int, logins under way at once.  :ivar count: int, logins that ended well.
    """

    def __init__(self, port):
        self._port = port
        self.most = self.count = None

    def __enter__(self):
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'tests.functional.logins', str(self._port)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout.readline() == 'ready\n'
        return self

    def __exit__(self, *unused):
        self._process.send_signal(signal.SIGTERM)
        said = json.loads(self._process.stdout.readline())
        self._process.wait(10)
        self.most, self.count = said['most'], said['count']


class _Counter:
    def __init__(self, port):
        self._port = port
        self._under_way = set()
        self.most = 0
        self.count = 0

    def packet(self, data):
        """:param data: bytes of an Ethernet frame."""
        ip = data[_ETHERNET:]
        if len(ip) < 20 or ip[0] >> 4 != 4 or ip[9] != _UDP:
            return
        header = 4 * (ip[0] & 15)
        udp, rmcp = ip[header : header + 8], ip[header + 8 :]
        if len(rmcp) < 6 or rmcp[4] != _RMCP_PLUS:
            return
        source, target = int.from_bytes(udp[:2]), int.from_bytes(udp[2:4])
        payload = rmcp[5] & 0x3F
        if payload == _OPEN_SESSION_REQUEST and target == self._port:
            self._under_way.add(ip[16:20])
            self.most = max(self.most, len(self._under_way))
        elif payload == _RAKP_4 and source == self._port:
            self._under_way.discard(ip[12:16])
            self.count += 1


def _main(port):
    counter = _Counter(port)
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
    sniffer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 26)
    sniffer.bind(('lo', 0))

    def end(*_):
        print(json.dumps({'most': counter.most, 'count': counter.count}), flush=True)
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    print('ready', flush=True)
    while True:
        data, address = sniffer.recvfrom(2048)
        if address[2] == _PACKET_OUTGOING:
            counter.packet(data)


if __name__ == '__main__':
    _main(int(sys.argv[1]))
