"""One ``ipmi_sim`` BMC of the farm: its configuration, its process and the serial port behind SOL.

Power, boot device and identify live in small files in the BMC's folder; ``ctl.sh``, which
ipmi_sim runs through its ``chassis_control`` hook, changes them and tells the farm through a FIFO.
"""

import asyncio
import ipaddress
import os
import struct
import subprocess
import time

CTL_SH = r"""#!/bin/sh
# chassis_control hook: ctl.sh DIR ID FIFO get|set ...   (run by ipmi_sim through popen)
dir=$1 id=$2 fifo=$3 op=$4
shift 4
if [ "$op" = get ]; then
    for p in "$@"; do
        read -r v < "$dir/$p" || exit 1
        echo "$p:$v"
    done
    exit 0
fi
note() { printf '%s %s %s\n' "$id" "$1" "$2" 1<>"$fifo"; }   # <> never blocks on open
put() { echo "$2" > "$dir/.$1" && mv "$dir/.$1" "$dir/$1"; }
while [ $# -gt 0 ]; do
    p=$1 v=$2
    shift 2
    case $p in
        power)    put power "$v"; note power "$v" ;;
        reset)    note reset 1 ;;
        shutdown) put power 0; note shutdown 1 ;;
        boot)     put boot "$v"; note boot "$v" ;;
        identify) put identify "${v% *}"; note identify "${v% *}" ;;    # value is "SECONDS FORCE"
        *)        echo "unknown parameter $p"; exit 1 ;;
    esac
done
exit 0
"""

LAN_CONF = """name "{b.name}"
set_working_mc 0x20
  startlan 1
    addr {b.addr} {b.port}
    priv_limit admin
    allowed_auths_callback none md2 md5 straight
    allowed_auths_user none md2 md5 straight
    allowed_auths_operator none md2 md5 straight
    allowed_auths_admin none md2 md5 straight
    guid {guid:032x}
{kg}  endlan
  chassis_control "{ctl} {b.dir} {b.idx} {fifo}"
  sol "tcp:{b.tty_host}:{b.tty_port}" 115200 history={a.history}
  user 1 true "" "" user 10 none md2 md5 straight
  user 2 true "{a.user}" "{a.password}" admin 60 none md2 md5 straight
  user 3 true "OPERATOR" "{a.password}" operator 60 none md2 md5 straight
"""

CMD_EMU = """mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02
sel_enable 0x20 1000 0x0a
sel_add 0x20 0x02 0x00 0x00 0x00 0x00 0x20 0x00 0x04 0x12 0x00 0x6f 0x01 0xff 0xff
sensor_add 0x20 0 0 35 0x6f event-only
sensor_set_event_support 0x20 0 0 enable scanning per-state {discrete}
sensor_add 0x20 0 1 0x01 0x01
sensor_set_value 0x20 0 1 {temperature} 0
sensor_set_threshold 0x20 0 1 settable 111000 0xa0 0x90 0x70 0x00 0x00 0x00
sensor_set_event_support 0x20 0 1 enable scanning per-state {threshold}
sensor_add 0x20 0 2 0x04 0x01
sensor_set_value 0x20 0 2 {fan} 0
sensor_set_event_support 0x20 0 2 enable scanning per-state {silent}
main_sdr_add 0x20 {sdr_temperature}
main_sdr_add 0x20 {sdr_fan}
mc_add_fru_data 0x20 0 512 file 0 "{fru}"
mc_enable 0x20
"""
_NO_STATES = '000000000000000'
_ALL_STATES = '000000000001111'
_THRESHOLDS = '000111111000000'


def sensor_record(record, number, name, sensor_type, unit, m=1):
    """A full sensor record (IPMI 2.0 section 43.1), threshold sensor, reading = raw * m."""
    name = name.encode()
    # fmt: off
    body = bytes([
        0x20, 0x00, number,                     # owner id, owner lun, sensor number
        0x07, 0x01, 0x7F, 0x68,                 # entity (system board).1, init, capabilities
        sensor_type, 0x01,                      # threshold event type
        0x80, 0x0A, 0x80, 0x7A, 0x38, 0x38,     # assertion, deassertion, readable masks
        0x00, unit, 0x00,                       # unsigned, base unit, modifier
        0x00, m & 0xFF, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00,                 # analog flags, nominal, normal max and min
        0xFF, 0x00,                             # sensor max and min
        0xA0, 0x90, 0x70, 0x00, 0x00, 0x00,     # thresholds
        0x01, 0x01, 0x00, 0x00, 0x00,           # hysteresis, reserved, oem
        0xC0 | len(name)]) + name
    # fmt: on
    return struct.pack('<HBBB', record, 0x51, 0x01, len(body)) + body


def fru_blob(serial, product='Simulated Node', maker='OpenIPMI'):
    """A FRU with a board and a product area (Platform Management FRU specification)."""

    def field(text):
        return bytes([0xC0 | len(text)]) + text.encode()

    def area(body):
        units = (2 + len(body) + 1 + 1 + 7) // 8
        body = (bytes([1, units]) + body + b'\xc1').ljust(units * 8 - 1, b'\0')
        return body + bytes([-sum(body) & 0xFF])

    fields = [maker, 'sim-board', serial, 'P/N-1', '']
    board = area(bytes([25, 0, 0, 0]) + b''.join(map(field, fields)))
    fields = [maker, product, 'PN-1', 'v1', serial, '', '']
    prod = area(bytes([25]) + b''.join(map(field, fields)))
    header = bytes([1, 0, 0, 1, 1 + len(board) // 8, 0, 0])
    return header + bytes([-sum(header) & 0xFF]) + board + prod


def _hex(data):
    return ' '.join(f'0x{b:02x}' for b in data)


class Bmc:
    """:param idx: from 1.  :param args: the farm's command line."""

    def __init__(self, idx, args):
        self.idx = idx
        self.name = f'{args.prefix}{idx:04d}'
        if args.layout == 'addr':
            self.addr = str(ipaddress.ip_address(args.base_addr) + idx)
            self.port, self.tty_port = args.port, args.tty_port
        else:
            self.addr, self.port = args.base_addr, args.port + idx
            self.tty_port = args.tty_port + idx
        # ipmi_sim splits the address of its console at the first colon: no IPv6 there
        self.tty_host = '127.0.0.1' if ':' in self.addr else self.addr
        self.dir = os.path.join(args.workdir, f'b{idx:04d}')
        self.proc = None
        self.writers = set()
        self.wake = None
        self.power = None

    def path(self, name):
        return os.path.join(self.dir, name)

    def read(self, name):
        with open(self.path(name)) as f:
            return f.read().strip()

    def write_config(self, args, ctl, fifo):
        os.makedirs(self.path('state'), exist_ok=True)
        power = '1' if args.power_on else '0'
        for name, value in (('power', power), ('boot', 'default'), ('identify', '0')):
            if not args.persist or not os.path.exists(self.path(name)):
                self._write(name, value + '\n')
        self.power = self.read('power') == '1'
        lan = LAN_CONF.format(
            b=self,
            a=args,
            ctl=ctl,
            fifo=fifo,
            kg=f'    bmc_key "{args.kg}"\n' if args.kg else '',
            guid=0xA1230000_00000000_00000000_00000000 + self.idx,
        )
        emu = CMD_EMU.format(
            discrete=' '.join((_ALL_STATES, _NO_STATES, _ALL_STATES, _NO_STATES)),
            threshold=' '.join((_THRESHOLDS,) * 4),
            silent=' '.join((_NO_STATES,) * 4),
            temperature=30 + self.idx % 20,
            fan=40 + self.idx % 20,
            sdr_temperature=_hex(sensor_record(1, 1, 'CPU Temp', 0x01, 1)),
            sdr_fan=_hex(sensor_record(2, 2, 'Fan1', 0x04, 18, m=100)),
            fru=self.path('fru.bin'),
        )
        self._write('lan.conf', lan)
        self._write('cmd.emu', emu)
        with open(self.path('fru.bin'), 'wb') as f:
            f.write(fru_blob(f'SIM{self.idx:06d}').ljust(512, b'\0'))

    def _write(self, name, text):
        with open(self.path(name), 'w') as f:
            f.write(text)

    def spawn(self, args):
        command = [args.ipmi_sim, '-n', '-c', self.path('lan.conf'), '-f', self.path('cmd.emu')]
        command += ['-s', self.path('state')]
        if not args.persist:
            command.append('-p')
        with open(self.path('log'), 'ab') as log:
            self.proc = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.dir,
                start_new_session=True,
            )

    # -- the serial port behind SOL -------------------------------------------------------------

    def say(self, text):
        data = text.encode()
        for w in self.writers:
            if w.transport.get_write_buffer_size() < 65536:
                w.write(data)

    async def burst(self, size, piece=512, pause=0.2):
        """Print ``size`` bytes, a piece at a time: ipmi_sim drops what SOL does not take."""
        line = f'{self.name} burst '.encode().ljust(62, b'.') + b'\r\n'
        for _ in range(0, size, piece):
            for w in self.writers:
                w.write(line * (piece // len(line)))
            await asyncio.sleep(pause)

    async def serve_tty(self):
        await asyncio.start_server(self._on_tty, self.tty_host, self.tty_port)

    async def _on_tty(self, reader, writer):
        self.writers.add(writer)
        try:
            while data := await reader.read(256):
                if self.power:  # a dead machine does not echo
                    writer.write(data.replace(b'\r', b'\r\n'))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def machine(self, args):
        """The thing with the serial port: boots when powered, then prints lines."""
        n, boot = 0, True
        while True:
            self.wake = asyncio.get_running_loop().create_future()
            if not self.power:
                await self.wake
                boot, n = True, 0
                continue
            if boot:
                boot = False
                for line in (
                    'SimBIOS 1.0',
                    f'{self.name}: POST ok, boot device: {self.read("boot")}',
                    'Loading kernel ...',
                    f'{self.name} login: ',
                ):
                    self.say(line + '\r\n')
                    await asyncio.sleep(args.boot_delay)
            try:
                await asyncio.wait_for(self.wake, 1 / args.rate if args.rate else None)
                boot, n = True, 0  # reset, or power off and on
                self.say('\r\n*** reset ***\r\n' if self.power else '\r\n*** power off ***\r\n')
            except TimeoutError:
                n += 1
                self.say(f'{self.name} line {n} t={time.time():.3f}\r\n')

    def event(self, what, value):
        """What ``ctl.sh`` did; the file ``events`` keeps all of it."""
        with open(self.path('events'), 'a') as f:
            f.write(f'{what} {value}\n')
        if what == 'power':
            on = value == '1'
            if on == self.power:
                return
            self.power = on
        elif what == 'shutdown':
            self.power = False
        elif what != 'reset':
            return
        if self.wake and not self.wake.done():
            self.wake.set_result(None)

    def inventory(self, args):
        return {
            'name': self.name,
            'address': self.addr,
            'port': self.port,
            'user': args.user,
            'password': args.password,
            'pid': self.proc.pid,
            'serial': f'{self.tty_host}:{self.tty_port}',
            'dir': self.dir,
        }
