import os
import stat

from obmd.cmd.demo import Demo


def test_the_demo_has_the_same_bmcs_after_a_restart(tmp_path):
    demo = Demo(2, str(tmp_path / 'state'))
    nodes = demo.start()
    demo.stop()
    again = Demo(2, str(tmp_path / 'state'))
    try:
        assert again.start() == nodes
    finally:
        again.stop()
    assert [node['name'] for node in nodes] == ['demo-1', 'demo-2']
    assert nodes[0]['info'].keys() == {'addr', 'port', 'user', 'pass'}


def test_what_it_keeps_is_private(tmp_path):
    demo = Demo(1, str(tmp_path / 'state'))
    demo.start()
    demo.stop()
    for name in os.listdir(tmp_path / 'state'):
        assert stat.S_IMODE((tmp_path / 'state' / name).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / 'state').stat().st_mode) == 0o700
