import pytest

from obmd.drivers import base


class Everything(base.Driver, base.Power, base.BootDevice, base.Console, base.EventLog):
    def power_status(self, deadline):
        return 'on'

    def set_power(self, action, deadline):
        pass

    def set_boot_device(self, device, deadline):
        pass

    def open_console(self, sink, deadline, takeover=False):
        pass

    def event_log(self, deadline, limit):
        return []


def test_capabilities_are_told_by_their_names():
    assert base.capabilities(Everything) == ['boot_device', 'console', 'event_log', 'power']
    assert base.capabilities(base.Driver) == []


def test_a_driver_that_leaves_out_half_of_a_capability_cannot_be_made():
    class Half(base.Driver, base.Power):
        def power_status(self, deadline):
            return 'on'

    with pytest.raises(TypeError):
        Half(base.NodeRef('n1', 'uuid-1'), {})


def test_what_a_driver_need_not_say_has_a_default():
    driver = base.Driver(base.NodeRef('n1', 'uuid-1'), {'a': 1})
    assert driver.normalise({'a': 1}) == {'a': 1}
    assert driver.address({}) == ''
    assert driver.answer_within > 0
    driver.reopen()
    driver.close(None)
    driver.abort(ValueError())
