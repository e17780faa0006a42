"""A machine that is one: qemu behind ipmi_sim, its serial port behind SOL, its power its process.

ipmi_sim starts qemu when it is told to power on and ends it when it is told to power off; qemu's
own IPMI interface (KCS) is connected to it as well.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading

from tests.functional.deployment import die_with_the_tests
from tests.functional.services import free_port

BOOT_SECTOR = os.path.join(os.path.dirname(__file__), 'boot.asm')

LAN_CONF = """name "qemu1"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 {m.port}
    priv_limit admin
    allowed_auths_admin none md2 md5 straight
    guid a1230000000000000000000000000001
  endlan
  serial 15 127.0.0.1 {kcs} codec VM
  startcmd "{command}"
  startnow false
  poweroff_wait 5
  kill_wait 3
  sol "tcp:127.0.0.1:{m.relay.bmc_port}" 115200
  user 2 true "{m.user}" "{m.password}" admin 10 none md2 md5 straight
"""

#: "reconnect": qemu dies of a connection to its BMC that is there before its IPMI device; the
#: option has another name from 9.2 on
START = """#!/bin/sh
exec >qemu.log 2>&1
case "$(qemu-system-x86_64 --version)" in
    *" version "[0-8].* | *" version 9."[01].*) reconnect=reconnect=2 ;;
    *) reconnect=reconnect-ms=500 ;;
esac
exec setpriv --pdeathsig KILL qemu-system-x86_64 -pidfile pid \\
    -machine pc,accel=tcg,graphics=off -m 32 -nodefaults -display none \\
    -drive file=boot.img,format=raw,if=floppy,readonly=on -boot a \\
    -chardev socket,id=ipmi0,host=127.0.0.1,port={kcs},$reconnect \\
    -device ipmi-bmc-extern,id=bmc0,chardev=ipmi0 -device isa-ipmi-kcs,bmc=bmc0 \\
    -chardev socket,id=com1,host=127.0.0.1,port={serial} -serial chardev:com1
"""

CMD_EMU = """mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02
sel_enable 0x20 1000 0x0a
mc_enable 0x20
"""


class Machine:
    """:ivar port: int, UDP port of its BMC on 127.0.0.1.  :ivar user, password: str."""

    user, password = 'ADMIN', 'secret'

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix='machine-')
        self._pidfile = os.path.join(self.folder, 'pid')
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(('127.0.0.1', 0))
            self.port = probe.getsockname()[1]
        self.relay = None
        self._process = None

    @property
    def info(self):
        """dict, what a node of the ipmi driver is registered with."""
        return {
            'addr': '127.0.0.1',
            'port': self.port,
            'user': self.user,
            'pass': self.password,
        }

    @property
    def pid(self):
        """int, of the qemu process, or None when there is none."""
        try:
            with open(self._pidfile) as file:
                pid = int(file.read())
            with open(f'/proc/{pid}/stat') as file:
                state = file.read().rpartition(')')[2].split()[0]
        except (OSError, ValueError):
            return None
        return pid if state != 'Z' else None

    def __enter__(self):
        image = os.path.join(self.folder, 'boot.img')
        subprocess.run(['nasm', '-f', 'bin', '-o', image, BOOT_SECTOR], check=True)
        self.relay = Relay()
        kcs = free_port()
        self._write('start', START.format(kcs=kcs, serial=self.relay.machine_port))
        command = os.path.join(self.folder, 'start')
        os.chmod(command, 0o755)
        self._write('lan.conf', LAN_CONF.format(m=self, kcs=kcs, command=command))
        self._write('cmd.emu', CMD_EMU)
        os.mkdir(os.path.join(self.folder, 'state'))
        with open(os.path.join(self.folder, 'log'), 'wb') as log:
            self._process = subprocess.Popen(
                ['ipmi_sim', '-n', '-c', 'lan.conf', '-f', 'cmd.emu', '-s', 'state', '-p'],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_the_tests,
            )
        return self

    def __exit__(self, *unused):
        if self.pid is not None:
            with contextlib.suppress(OSError):
                os.kill(self.pid, 9)
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.relay.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, name, text):
        with open(os.path.join(self.folder, name), 'w') as file:
            file.write(text)


class Relay:
    """A serial cable that is always plugged in: ipmi_sim holds one end, the machine the other
    while it runs.  Without it ipmi_sim looks for the machine every 10 s and misses its boot."""

    def __init__(self):
        self._ends = {'bmc': set(), 'machine': set()}
        self._listeners = {}
        for end, other in (('bmc', 'machine'), ('machine', 'bmc')):
            listener = socket.create_server(('127.0.0.1', 0))
            self._listeners[end] = listener
            self._thread(self._accept, listener, end, other)
        self.bmc_port = self._listeners['bmc'].getsockname()[1]
        self.machine_port = self._listeners['machine'].getsockname()[1]

    def close(self):
        for closing in (*self._listeners.values(), *self._ends['bmc'], *self._ends['machine']):
            closing.close()

    def _thread(self, function, *args):
        threading.Thread(target=function, args=args, daemon=True).start()

    def _accept(self, listener, end, other):
        with contextlib.suppress(OSError, EOFError):
            while True:
                connection = listener.accept()[0]
                self._ends[end].add(connection)
                self._thread(self._pass_on, connection, end, other)

    def _pass_on(self, connection, end, other):
        with contextlib.suppress(OSError, EOFError):
            while data := connection.recv(4096):
                for receiver in list(self._ends[other]):
                    receiver.sendall(data)
        self._ends[end].discard(connection)
        connection.close()
