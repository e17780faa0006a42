import pytest

from obmd.testing.controller import Credentials
from obmd.testing.rmcp import proposed_suite


def proposal(*algorithms, length=8):
    request = bytes(8)
    for kind, algorithm in enumerate(algorithms):
        request += bytes((kind, 0, 0, length, algorithm, 0, 0, 0))
    return request


@pytest.mark.parametrize(
    ('algorithms', 'offered', 'suite'),
    [
        ((1, 1, 1), (3,), 3),
        ((3, 4, 1), (17,), 17),
        ((3, 4, 1), (17, 3), 17),
        ((1, 1, 1), (17, 3), 3),
        ((3, 4, 1), (3,), None),
        ((1, 1, 1), (17,), None),
        ((0, 0, 0), (17, 3), None),
        ((3, 1, 1), (17, 3), None),
    ],
)
def test_a_proposal_is_taken_only_as_a_whole_suite_that_is_offered(algorithms, offered, suite):
    assert proposed_suite(proposal(*algorithms), offered) == suite


def test_a_client_may_leave_the_choice_to_the_bmc():
    assert proposed_suite(proposal(0, 0, 0, length=0), (17, 3)) == 17


def test_credentials_do_not_show_in_their_repr():
    shown = repr(Credentials(b'ADMIN', b'hidden-word', b'hidden-key'))
    assert 'hidden' not in shown
