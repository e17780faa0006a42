import pytest

from obmd.testing.machine import Machine


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Bench:
    """A machine on a clock that the test moves, and what it said."""

    def __init__(self, **options):
        self.clock = Clock()
        self.said = b''
        self.machine = Machine(
            'm1', self._say, clock=self.clock, wall_clock=lambda: 1.5, boot_delay=1.0, **options
        )

    def _say(self, data):
        self.said += data

    def run(self, seconds, step=0.25):
        for _ in range(round(seconds / step)):
            self.clock.now += step
            self.machine.tick(self.clock.now)

    def take(self):
        said, self.said = self.said.decode(), b''
        return said


@pytest.fixture
def on():
    return Bench(on=True, rate=2.0, boot_device=lambda: 'network')


def test_it_boots_with_its_boot_device_and_then_talks_at_its_rate(on):
    on.run(4)
    assert 'POST ok, boot device: network\r\n' in on.said.decode()
    assert on.take().endswith('m1 login: \r\n')
    on.run(2)
    assert on.take().count('m1 line ') == 4


def test_power_off_silences_it_and_power_on_boots_it_again(on):
    on.run(5)
    on.machine.power_off()
    assert '*** power off ***' in on.take()
    on.run(5)
    assert (on.machine.on, on.take()) == (False, '')
    on.machine.power_on()
    on.run(1)
    assert on.take().startswith('SimBIOS')


def test_power_on_of_a_running_machine_changes_nothing(on):
    on.run(5)
    on.take()
    on.machine.power_on()
    on.run(1)
    assert 'SimBIOS' not in on.take()


def test_a_reset_boots_it_without_going_off(on):
    on.run(5)
    on.take()
    on.machine.reset()
    on.run(1)
    assert on.machine.on
    assert '*** reset ***\r\nSimBIOS' in on.take()


def test_a_power_cycle_is_off_for_a_second(on):
    on.machine.power_cycle()
    on.run(0.75)
    assert not on.machine.on
    on.run(0.25)
    assert on.machine.on


def test_a_shutdown_takes_its_time():
    bench = Bench(on=True, soft_off_delay=3.0)
    bench.machine.shut_down()
    bench.run(2.75)
    assert bench.machine.on
    bench.run(0.25)
    assert not bench.machine.on


def test_a_machine_may_ignore_a_shutdown():
    bench = Bench(on=True, soft_off_delay=None)
    bench.machine.shut_down()
    bench.run(60)
    assert bench.machine.on


def test_slow_hardware_changes_its_power_later():
    bench = Bench(power_delay=2.0)
    bench.machine.power_on()
    bench.run(1.75)
    assert not bench.machine.on
    bench.run(0.25)
    assert bench.machine.on


def test_the_last_power_command_wins():
    bench = Bench(on=True, power_delay=2.0)
    bench.machine.power_off()
    bench.machine.power_on()
    bench.run(5)
    assert bench.machine.on


def test_it_echoes_what_is_typed_only_while_it_runs(on):
    on.machine.typed(b'ls\r')
    assert on.take().endswith('ls\r\n')
    on.machine.power_off()
    on.take()
    on.machine.typed(b'ls\r')
    assert on.take() == ''


def test_after_a_long_pause_it_makes_up_for_a_second_only(on):
    on.run(5)
    on.take()
    on.clock.now += 1000
    for _ in range(50):
        on.machine.tick(on.clock.now)
    assert on.take().count('line') <= 4
