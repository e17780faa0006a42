import pytest

from obmd.common import errors
from obmd.drivers.ipmi import sol

DEACTIVATED = 0x10


class Sink:
    def __init__(self):
        self.text = b''
        self.error = None

    def data(self, chunk):
        assert self.error is None
        self.text += chunk

    def opening(self):
        pass

    def lost(self, error):
        assert self.error is None
        self.error = error


def allowed():
    """The node is ours, the database says."""


def denied():
    raise errors.NotOwner('the node has another owner now')


@pytest.fixture
def sink():
    return Sink()


@pytest.fixture
def console(rig, sink):
    return sol.open_console(rig.connect(), sink, rig.deadline(), False, allowed)


def activations(rig):
    return [c[1] for c in rig.fake.commands if c[1] in (0x48, 0x49)]


def steal(rig):
    """Another client takes SOL over, as ipmitool does."""
    other = rig.fake.sol.__class__(1, 0x777, 3)
    rig.fake.sessions[0x777] = rig.fake.sol = other


def test_data_arrives_in_order_and_is_acknowledged(rig, sink, console):
    for i in range(40):
        rig.push(rig.fake.say(b'line %d\n' % i))
    assert sink.text == b''.join(b'line %d\n' % i for i in range(40))
    assert rig.fake.acknowledged[:2] == [(1, 7), (2, 7)]
    assert len(rig.fake.acknowledged) == 40


def test_a_repeated_packet_is_acknowledged_and_not_shown_again(rig, sink, console):
    rig.push(rig.fake.say(b'one '))
    rig.push(rig.fake.say(b'one ', again=True))
    rig.push(rig.fake.say(b'two'))
    assert sink.text == b'one two'
    assert [n for n, _ in rig.fake.acknowledged] == [1, 1, 2]


def test_a_repeated_packet_with_more_in_it_shows_the_rest(rig, sink, console):
    rig.push(rig.fake.say(b'one '))
    rig.push(rig.fake.say(b'one two ', again=True))
    rig.push(rig.fake.say(b'one two ', again=True))
    assert sink.text == b'one two '


def test_data_is_acknowledged_while_a_command_is_on_its_way(rig, sink, console):
    rig.fake.script[6, 0x01] = [lambda data: None]
    text = b'while we wait'
    rig.reactor.call_later(
        0.1, lambda: rig.reactor.links['192.0.2.5', 623].push(rig.fake.say(text))
    )
    rig.reactor.call_later(0.2, lambda: acknowledged.extend(rig.fake.acknowledged))
    acknowledged = []
    rig.call(6, 0x01)
    assert acknowledged == [(1, len(text))]
    assert sink.text == text


def test_data_that_comes_before_the_answer_to_the_activation_is_kept(rig, sink):
    bmc = rig.connect()

    def activate(data):
        rig.fake.sol = next(iter(rig.fake.sessions.values()))
        rig.reactor.links['192.0.2.5', 623].push(rig.fake.say(b'early'))
        return bytes(13)

    rig.fake.script[6, 0x48] = [activate]
    sol.open_console(bmc, sink, rig.deadline(), False, allowed)
    assert sink.text == b'early'


def test_held_by_another_client_names_its_address(rig, sink):
    bmc = rig.connect()
    rig.call(6, 1)
    rig.fake.sol = next(iter(rig.fake.sessions.values()))
    steal(rig)
    with pytest.raises(errors.ConsoleHeld, match='192.0.2.7:4711'):
        sol.open_console(bmc, sink, rig.deadline(), False, allowed)
    assert activations(rig) == [0x48]
    assert bmc.console is None


def test_takeover_deactivates_once_and_activates_once(rig, sink):
    bmc = rig.connect()
    rig.call(6, 1)
    rig.fake.sol = next(iter(rig.fake.sessions.values()))
    steal(rig)
    sol.open_console(bmc, sink, rig.deadline(), True, allowed)
    assert activations(rig) == [0x48, 0x49, 0x48]


def test_a_lost_answer_to_the_activation_is_not_taken_for_another_client(rig, sink):
    bmc = rig.connect()
    rig.call(6, 1)
    lost = []

    def fault(packet, way):
        if way == 'out' and rig.fake.sol and not lost:
            lost.append(packet)
            return []
        return [packet]

    rig.reactor.fault = fault
    sol.open_console(bmc, sink, rig.deadline(), False, allowed)
    assert activations(rig) == [0x48, 0x48]


def test_a_refused_activation_is_passed_on(rig, sink):
    bmc = rig.connect()
    rig.fake.script[6, 0x48] = [0x81]
    with pytest.raises(errors.BmcRefused, match='Payload is disabled'):
        sol.open_console(bmc, sink, rig.deadline(), False, allowed)


def test_taken_away_is_noticed_on_a_silent_line(rig, sink, console):
    rig.reactor.run(1)
    steal(rig)
    rig.reactor.run(4)
    assert isinstance(sink.error, errors.ConsoleHeld)
    assert '192.0.2.7:4711' in sink.error.reason
    assert activations(rig) == [0x48]


def test_a_packet_that_says_deactivated_is_looked_into_at_once(rig, sink, console):
    packet = rig.fake.say(b'', status=DEACTIVATED)
    steal(rig)
    rig.push(packet)
    rig.reactor.run(0.5)
    assert isinstance(sink.error, errors.ConsoleHeld)


def test_ended_by_the_bmc_with_nobody_else_on_it(rig, sink, console):
    rig.fake.sol = None
    rig.reactor.run(4)
    assert type(sink.error) is errors.BmcRefused


def test_a_dead_bmc_is_noticed_within_seconds(rig, sink, console):
    rig.reactor.fault = lambda packet, way: []
    rig.reactor.run(6.1)
    assert isinstance(sink.error, errors.BmcSilent)


def test_a_relogin_for_a_command_tells_the_console(rig, sink, console):
    rig.fake.restart()
    assert rig.call(0, 0x01).code == 0
    assert isinstance(sink.error, errors.BmcSilent)
    rig.reactor.run(20)


def test_a_silent_line_that_is_ours_goes_on(rig, sink, console):
    rig.reactor.run(120)
    assert sink.error is None
    rig.push(rig.fake.say(b'still here'))
    assert sink.text == b'still here'


def test_a_talking_line_is_not_probed(rig, sink, console):
    before = len(rig.fake.commands)
    for _ in range(30):
        rig.push(rig.fake.say(b'.'))
        rig.reactor.run(1)
    assert len(rig.fake.commands) - before <= 2


def test_a_bmc_that_writes_the_session_id_another_way(rig, sink):
    rig.connect()
    odd = [lambda data: b'\0\x12\x34\x56\x78' + bytes(8)]
    rig.fake.script[6, 0x4B] = odd * 100
    sol.open_console(rig.bmc, sink, rig.deadline(), False, allowed)
    rig.reactor.run(30)
    assert sink.error is None


@pytest.mark.parametrize('status', [b'\0\x01\x01\0', b'\xc1'])
def test_a_bmc_that_does_not_tell_who_holds_sol(rig, sink, status):
    rig.connect()
    rig.fake.script[6, 0x4B] = [0xC1] * 100
    rig.fake.script[6, 0x4A] = [lambda data: status] * 100
    sol.open_console(rig.bmc, sink, rig.deadline(), False, allowed)
    rig.reactor.run(30)
    assert sink.error is None
    rig.fake.script[6, 0x4A] = [lambda data: b'\0\x01\0\0'] * 100
    rig.reactor.run(5)
    assert sink.error is not None


@pytest.mark.parametrize('deactivate', [True, False])
def test_close(rig, sink, console, deactivate):
    bmc = rig.bmc
    console.close(rig.deadline(), deactivate=deactivate)
    assert activations(rig) == ([0x48, 0x49] if deactivate else [0x48])
    rig.push(rig.fake.sessions and next(iter(rig.fake.sessions.values())).seal(1, b'\1\0\0\0late'))
    bmc.close(rig.deadline())
    rig.reactor.run(20)
    assert sink.error is None
    assert sink.text == b''


def test_a_second_console_of_one_node_is_refused(rig, sink, console):
    with pytest.raises(errors.ConsoleHeld):
        sol.open_console(rig.bmc, Sink(), rig.deadline(), True, allowed)
    assert activations(rig) == [0x48]


@pytest.mark.parametrize('payload', [b'', b'\1', b'\1\0\0', b'\1\0\0\0'])
def test_short_packets_harm_nothing(rig, sink, console, payload):
    rig.push(rig.fake.sol.seal(1, payload))
    rig.push(rig.fake.say(b'x') if not payload else rig.fake.sol.seal(1, b'\2\0\0\0x'))
    assert sink.text == b'x'


def test_what_a_lost_session_of_ours_still_holds_is_taken_back(rig, sink, console):
    rig.reactor.fault = lambda packet, way: []
    rig.reactor.run(8)
    assert isinstance(sink.error, errors.BmcSilent)
    rig.reactor.fault = lambda packet, way: [packet]
    again = Sink()
    sol.open_console(rig.bmc, again, rig.deadline(), False, allowed)
    assert activations(rig) == [0x48, 0x48, 0x49, 0x48]
    rig.push(rig.fake.say(b'back'))
    assert again.text == b'back'


def test_but_not_what_another_client_has_taken_meanwhile(rig, sink, console):
    rig.reactor.fault = lambda packet, way: []
    rig.reactor.run(8)
    steal(rig)
    rig.reactor.fault = lambda packet, way: [packet]
    with pytest.raises(errors.ConsoleHeld):
        sol.open_console(rig.bmc, Sink(), rig.deadline(), False, allowed)
    assert 0x49 not in activations(rig)


def test_when_the_process_goes_down_sol_is_deactivated_without_waiting(rig, sink, console):
    rig.bmc.abort(errors.Unavailable('going down'))
    console.close(rig.deadline())
    rig.bmc.close(rig.deadline())
    rig.reactor.run(1)
    assert activations(rig) == [0x48, 0x49]
    assert not rig.fake.sessions


def test_letting_the_node_go_says_so(rig, sink, console):
    rig.bmc.close(rig.deadline())
    assert isinstance(sink.error, errors.Unavailable)


def test_a_takeover_that_the_conductor_does_not_authorise_ends_nobody(rig, sink):
    bmc = rig.connect()
    rig.call(6, 1)
    rig.fake.sol = next(iter(rig.fake.sessions.values()))
    steal(rig)
    with pytest.raises(errors.NotOwner):
        sol.open_console(bmc, sink, rig.deadline(), True, denied)
    assert activations(rig) == [0x48]


def test_a_close_that_the_conductor_does_not_authorise_leaves_sol_alone(rig, sink):
    console = sol.open_console(rig.connect(), sink, rig.deadline(), False, denied)
    console.close(rig.deadline())
    rig.reactor.run(1)
    assert activations(rig) == [0x48]
