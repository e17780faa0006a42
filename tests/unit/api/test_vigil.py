"""Streams end with the access token that they are read with."""

import pytest

from obmd.api import bearer
from obmd.api import vigil
from obmd.common import errors
from obmd.conf import CONF
from obmd.db import access_tokens
from obmd.streams import viewer

NOW = 1_800_000_000


class Rig:
    def __init__(self):
        self.rows = {'j1': self.row(), 'j2': self.row()}
        self.error = None
        self.asked = []
        self.spawned = []
        self.time = 0.0
        self.vigil = vigil.Vigil(
            self.fetch, lambda: NOW, lambda: self.time, lambda run: self.spawned.append(run)
        )

    def row(self, expires_at=NOW + 60, revoked_at=None):
        return access_tokens.AccessToken('j', None, None, None, None, NOW, expires_at, revoked_at)

    def fetch(self, jti):
        self.asked.append(jti)
        if self.error is not None:
            raise self.error
        return self.rows.get(jti)

    def open(self, jti='j1'):
        stream = viewer.Stream()
        self.vigil.add(stream, bearer.Identity(jti))
        return stream


@pytest.fixture
def rig():
    return Rig()


def test_a_stream_goes_on_while_its_token_is_good(rig):
    stream = rig.open()
    rig.vigil.check()
    assert stream.ended is None


@pytest.mark.parametrize('row', [None, {'revoked_at': NOW}, {'expires_at': NOW}])
def test_a_stream_ends_when_its_token_has(rig, row):
    ends, goes_on = rig.open('j1'), rig.open('j2')
    rig.rows['j1'] = row and rig.row(**row)
    rig.vigil.check()
    assert ends.ended == vigil.ENDED
    assert goes_on.ended is None


def test_one_token_is_read_once_for_all_its_streams(rig):
    for _ in range(5):
        rig.open()
    rig.vigil.check()
    assert rig.asked == ['j1']


def test_streams_go_on_for_the_grace_when_nobody_can_tell(rig):
    stream = rig.open()
    rig.error = errors.Unavailable('the database does not answer')
    rig.time = CONF.console.revocation_grace
    rig.vigil.check()
    assert stream.ended is None
    rig.time += 0.1
    rig.vigil.check()
    assert stream.ended == vigil.UNCHECKED


def test_a_check_that_was_answered_begins_the_grace_anew(rig):
    stream = rig.open()
    rig.time = CONF.console.revocation_grace
    rig.vigil.check()
    rig.error = errors.Unavailable('the database does not answer')
    rig.time *= 2
    rig.vigil.check()
    assert stream.ended is None


def test_the_admins_streams_and_those_of_tokens_without_an_id_are_not_asked_about(rig):
    rig.vigil.add(viewer.Stream(), bearer.ADMIN)
    rig.vigil.add(viewer.Stream(), bearer.Identity('jwt-0123'))
    rig.vigil.check()
    assert rig.asked == []
    assert rig.spawned == []


def test_one_thread_watches_and_ends_with_the_last_stream(rig, conf):
    conf('console', revocation_check_interval=0.1)
    streams = [rig.open(), rig.open('j2')]
    assert len(rig.spawned) == 1
    for stream in streams:
        stream.end('finished')
    rig.spawned[0]()
    rig.open()
    assert len(rig.spawned) == 2
