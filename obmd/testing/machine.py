"""The host behind a simulated BMC: power, boot text and a login prompt that talks.

Knows nothing of IPMI.  Time comes from the clock that is passed in, and whoever owns a machine
calls :meth:`Machine.tick` often; what the machine says goes to ``say``.
"""

import time

BOOT_LINES = (
    'SimBIOS 1.0',
    'POST ok, boot device: {boot}',
    'Loading kernel ...',
    '{name} login: ',
)
#: seconds that a power cycle leaves the machine off (IPMI 2.0 section 28.3: at least one)
CYCLE_PAUSE = 1.0
#: seconds of unsaid lines that a machine makes up for after a pause; older ones are left out
CATCH_UP = 1.0


class Machine:
    """One host.

    :param name: str, appears in what it prints.
    :param say: callable taking bytes, the serial port's output.
    :param boot_device: callable giving the name of the device to boot from; called at each boot.
    :param on: bool, the power state to begin with.
    :param rate: lines a second once booted; 0 is a silent machine.
    :param boot_delay: seconds between two lines of boot text.
    :param power_delay: seconds from a power command to the change, as on slow hardware.
    :param soft_off_delay: seconds from an ACPI shutdown request to off; None ignores it.
    :param clock: callable giving monotonic seconds.
    :param wall_clock: callable giving seconds since 1970, printed in each line as ``t=``.
    """

    def __init__(
        self,
        name,
        say,
        boot_device=lambda: 'default',
        on=False,
        rate=0.0,
        boot_delay=0.2,
        power_delay=0.0,
        soft_off_delay=0.0,
        clock=time.monotonic,
        wall_clock=time.time,
    ):
        self.name = name
        self.on = False
        self.rate = rate
        self.boot_delay = boot_delay
        self.power_delay = power_delay
        self.soft_off_delay = soft_off_delay
        self._say = say
        self._boot_device = boot_device
        self._clock = clock
        self._wall_clock = wall_clock
        self._boot_text = []
        self._lines = 0
        self._talk_at = 0.0
        self._on_at = None
        self._off_at = None
        if on:
            self._go_on()

    def power_on(self):
        self._off_at, self._on_at = None, self._clock() + self.power_delay
        self.tick(self._clock())

    def power_off(self):
        self._on_at, self._off_at = None, self._clock() + self.power_delay
        self.tick(self._clock())

    def power_cycle(self):
        self.power_off()
        self._on_at = self._clock() + self.power_delay + CYCLE_PAUSE

    def reset(self):
        self._off_at = None
        self._print('\r\n*** reset ***')
        self._boot()

    def shut_down(self):
        """An ACPI shutdown request: the system ends in its own time."""
        if self.on and self._off_at is None and self.soft_off_delay is not None:
            self._print('\r\nThe system is going down ...')
            self._off_at = self._clock() + self.soft_off_delay
            self.tick(self._clock())

    def interrupt(self):
        """A diagnostic interrupt (NMI)."""
        if self.on:
            self._print('\r\nNMI received')

    def send_break(self):
        if self.on:
            self._print('\r\n<break>')

    def typed(self, data):
        """:param data: bytes that came in at the serial port; a running machine echoes them."""
        if self.on:
            self._say(bytes(data).replace(b'\r', b'\r\n'))

    def tick(self, now):
        """Do what is due.  :param now: seconds of the machine's clock."""
        if self._off_at is not None and now >= self._off_at:
            self._off_at = None
            self._go_off()
        if self._on_at is not None and now >= self._on_at:
            self._on_at = None
            self._go_on()
        if not self.on or now < self._talk_at:
            return
        if self._boot_text:
            self._print(self._boot_text.pop(0))
            self._talk_at = now + self.boot_delay
        elif self.rate:
            self._lines += 1
            self._talk_at = max(now - CATCH_UP, self._talk_at) + 1 / self.rate
            self._print(f'{self.name} line {self._lines} t={self._wall_clock():.3f}')

    def _go_on(self):
        if not self.on:
            self.on = True
            self._boot()

    def _go_off(self):
        if self.on:
            self.on = False
            self._print('\r\n*** power off ***')

    def _boot(self):
        boot = self._boot_device()
        self._boot_text = [line.format(name=self.name, boot=boot) for line in BOOT_LINES]
        self._lines = 0
        self._talk_at = self._clock()

    def _print(self, line):
        self._say(line.encode() + b'\r\n')
