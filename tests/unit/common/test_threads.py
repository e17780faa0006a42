import logging
import os
import threading

from obmd.common import threads


def test_work_runs_in_a_thread_of_its_own():
    done = threading.Event()
    where = []

    def work(value):
        where.append((value, threading.get_ident()))
        done.set()

    threads.spawn(work, 7)
    assert done.wait(10)
    assert where[0][0] == 7
    assert where[0][1] != threading.get_ident()


def test_an_error_that_escapes_is_logged_and_nothing_else(caplog):
    logged = threading.Event()

    class Handler(logging.Handler):
        def emit(self, record):
            self.text = record.getMessage()
            logged.set()

    handler = Handler()
    logging.getLogger(threads.__name__).addHandler(handler)
    try:

        def breaks():
            raise ValueError('broken')

        threads.spawn(breaks)
        assert logged.wait(10)
    finally:
        logging.getLogger(threads.__name__).removeHandler(handler)
    assert 'breaks failed' in handler.text


def test_a_native_thread_says_its_error_without_a_logger(monkeypatch):
    said = []
    done = threading.Event()

    def write(fd, data):
        said.append((fd, data))
        done.set()
        return len(data)

    def breaks():
        raise OSError('disk')

    monkeypatch.setattr(threads, 'native_write', write)
    threads.spawn_native(breaks)
    assert done.wait(10)
    assert said[0][0] == 2
    assert b'breaks failed' in said[0][1]


def test_a_line_that_cannot_be_said_is_no_error(monkeypatch):
    def write(_fd, _data):
        raise BrokenPipeError

    monkeypatch.setattr(threads, 'native_write', write)
    threads.native_log('é\udc80')


def test_native_calls_are_those_of_the_system():
    assert threads.native_write is os.write
    assert threads.native_open is os.open
