"""What ``obmd.db.audit`` promises; also run on real servers (tests/functional/db)."""

import dataclasses

import pytest

from obmd.db import audit


@pytest.fixture(autouse=True)
def empty(database):
    audit.forget(1e12, 100_000)


def ats(**filters):
    return [entry.at for entry in audit.page(**filters)]


def test_what_was_written_is_read():
    entry = audit.Entry(
        at=1000.5,
        action='command power-off',
        subject='j' * 36,
        label='Zoë',
        claimed_user='root',
        claimed_uid=2**40,
        source='2001:db8::1',
        request_id='req-1',
        door='action',
        nodes='n[1-9]' * 50_000,
        job_uuid='u' * 36,
        outcome='accepted',
        detail='d' * 100_000,
    )
    audit.write(entry)
    (found,) = audit.page()
    assert dataclasses.replace(found, id=None) == entry


def test_hostile_text_is_cut_to_what_can_be_stored():
    audit.write(
        audit.Entry(1.0, 'a' * 300, claimed_user='x\0\ud800' * 200, request_id='r' * 1000, door='')
    )
    (found,) = audit.page()
    assert found.action == 'a' * 255
    assert found.claimed_user == ('x?' * 200)[:255]
    assert found.request_id == 'r' * 64


def test_entries_are_found_newest_first():
    audit.write(
        audit.Entry(1.0, 'node create', subject='admin'),
        audit.Entry(2.0, 'command on', subject='j1', label='zoe', job_uuid='u1'),
        audit.Entry(3.0, 'command on', subject='j2', label='joe'),
    )
    assert ats() == [3.0, 2.0, 1.0]
    assert ats(since=2.0) == [3.0, 2.0]
    assert ats(until=2.0) == [1.0]
    assert ats(subject='zoe') == ats(subject='j1') == ats(job='u1') == [2.0]
    assert ats(action='command on') == [3.0, 2.0]
    (last,) = audit.page(limit=1)
    assert ats(before_id=last.id, limit=1) == [2.0]


def test_old_entries_are_forgotten():
    audit.write(*(audit.Entry(float(n), 'a') for n in range(5)))
    assert audit.forget(3.0, 2) == 2
    assert audit.forget(3.0, 2) == 1
    assert audit.forget(3.0, 2) == 0
    assert ats() == [4.0, 3.0]


def test_nothing_to_write_is_fine():
    audit.write()
    assert ats() == []


@pytest.mark.parametrize('text', ['', 'a\0b', '\ud800', 'x' * 300])
def test_what_cannot_be_stored_finds_nothing(text):
    audit.write(audit.Entry(1.0, 'a'))
    for name in ('subject', 'action', 'job'):
        assert ats(**{name: text}) == []
