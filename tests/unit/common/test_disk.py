import threading

import pytest

from obmd.common import disk
from obmd.common import errors


def test_a_call_gives_what_its_function_does():
    assert disk.Disk().call(divmod, 7, 2) == (3, 1)


def test_an_error_of_the_disk_comes_to_who_asked():
    with pytest.raises(FileNotFoundError):
        disk.Disk().call(open, '/does/not/exist')


def test_a_call_is_made_in_another_thread():
    assert disk.Disk().call(threading.get_ident) != threading.get_ident()


def test_a_disk_that_hangs_is_unavailable_to_who_asked_only():
    hanging = threading.Event()
    slow = disk.Disk(patience=0.05)
    with pytest.raises(errors.Unavailable):
        slow.call(hanging.wait)
    patient = disk.Disk()
    assert patient.call(int, '7') == 7
    hanging.set()


def test_one_call_that_hangs_leaves_threads_for_others():
    hanging = threading.Event()
    one = disk.Disk()
    waiting = threading.Thread(target=one.call, args=(hanging.wait,))
    waiting.start()
    assert [one.call(int, n) for n in range(50)] == list(range(50))
    hanging.set()
    waiting.join(10)
    assert not waiting.is_alive()
