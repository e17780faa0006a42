"""What ``obmd.db.access_tokens`` promises; also run on real servers (tests/functional/db)."""

import dataclasses
import uuid

import pytest

from obmd.db import access_tokens


@pytest.fixture(autouse=True)
def users(database):
    pass


def issue(**values):
    given = {
        'jti': str(uuid.uuid4()),
        'label': None,
        'commands': None,
        'nodes': None,
        'operations': None,
        'issued_at': 1000.0,
        'expires_at': 2000.0,
    }
    token = access_tokens.AccessToken(**given | values)
    access_tokens.issue(token)
    return token


def test_what_was_issued_is_read():
    everything = issue()
    scoped = issue(label='Zoë', commands=['power-off'], nodes='n[1-9]', operations=[])
    assert access_tokens.get(everything.jti) == everything
    assert access_tokens.get(scoped.jti) == scoped


@pytest.mark.parametrize('jti', [None, 7, {}, '', 'no', 'a\0b', '\ud800', 'x' * 100_000])
def test_what_was_not_issued_is_none(jti):
    assert access_tokens.get(jti) is None
    assert access_tokens.revoke(jti, 1.0) is None


def test_a_revoked_token_stays_revoked_since_the_first_time():
    token, other = issue(), issue()
    revoked = dataclasses.replace(token, revoked_at=1500.0)
    assert access_tokens.revoke(token.jti, 1500.0) == revoked
    assert access_tokens.revoke(token.jti, 1600.0) == revoked == access_tokens.get(token.jti)
    assert access_tokens.get(other.jti) == other


def test_tokens_are_listed_page_by_page():
    made = {issue().jti for _ in range(3)}
    seen, last = [], ''
    while page := access_tokens.page(last, 2):
        seen += [token.jti for token in page]
        last = seen[-1]
    assert made <= set(seen) and seen == sorted(set(seen))
