"""Streams end with the access token that they are read with."""

import pytest

from obmd.api import bearer
from obmd.api import selection
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

    def open(self, jti='j1', node=None, **more):
        stream = viewer.Stream()
        self.vigil.add(stream, bearer.Identity(jti, **more), node)
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


def test_the_admins_streams_are_not_watched(rig):
    rig.vigil.add(viewer.Stream(), bearer.ADMIN)
    rig.vigil.check()
    assert rig.asked == []
    assert rig.spawned == []


@pytest.mark.parametrize('jti', ['j1', 'jwt-0123'])
@pytest.mark.parametrize(('expires_at', 'ended'), [(NOW, vigil.ENDED), (NOW + 1, None)])
def test_a_stream_ends_when_its_token_expires_whatever_its_row_says(rig, jti, expires_at, ended):
    stream = rig.open(jti, expires_at=expires_at)
    rig.vigil.check()
    assert stream.ended == ended


def test_the_stream_of_a_token_without_an_id_needs_no_database(rig):
    stream = rig.open('jwt-0123', expires_at=NOW + 1)
    rig.vigil.check()
    assert rig.asked == []
    assert stream.ended is None


def test_the_stream_of_a_token_without_an_id_ends_when_those_are_not_taken_any_more(rig, conf):
    stream = rig.open('jwt-0123', expires_at=NOW + 1)
    conf('actions', allow_unscoped_tokens=False)
    rig.vigil.check()
    assert stream.ended == vigil.ENDED


def test_a_stream_ends_when_its_node_leaves_the_group_that_its_token_is_for(rig, monkeypatch):
    group = ['n1', 'n2']
    monkeypatch.setattr(selection, 'members', lambda name, most: group)
    left, stays = (rig.open(node=node, nodes='@rack') for node in ('n1', 'n2'))
    of_no_node = rig.open(nodes='@rack')
    rig.vigil.check()
    assert left.ended is None
    group.remove('n1')
    rig.vigil.check()
    assert left.ended == vigil.OUTSIDE
    assert (stays.ended, of_no_node.ended) == (None, None)


def test_a_stream_goes_on_for_the_grace_when_nobody_can_tell_who_is_in_the_group(rig, monkeypatch):
    def fail(name, most):
        raise errors.Unavailable('the database does not answer')

    monkeypatch.setattr(selection, 'members', fail)
    stream = rig.open(node='n1', nodes='@rack')
    rig.vigil.check()
    assert stream.ended is None
    rig.time = CONF.console.revocation_grace + 1
    rig.vigil.check()
    assert stream.ended == vigil.UNCHECKED


def test_one_thread_watches_and_ends_with_the_last_stream(rig, conf):
    conf('console', revocation_check_interval=0.1)
    streams = [rig.open(), rig.open('j2')]
    assert len(rig.spawned) == 1
    for stream in streams:
        stream.end('finished')
    rig.spawned[0]()
    rig.open()
    assert len(rig.spawned) == 2
