import io
import logging

import pytest

from obmd.common import scrubbing

SECRET = '0123456789abcdef0123456789abcdef'


@pytest.mark.parametrize(
    'text',
    [
        f'GET /node/x/console?token={SECRET} 200',
        f'GET /node/x/console?a=b&token={SECRET}&c=d',
        f'GET /node/x/console?TOKEN={SECRET}',
        f'{{"token": "{SECRET}"}}',
        f"{{'token': '{SECRET}'}}",
        f'admin_token={SECRET}',
        f'Authorization: Basic {SECRET}==',
        f"'HTTP_AUTHORIZATION': 'Basic {SECRET}'",
        f'authorization: bearer {SECRET}.{SECRET}',
        f'postgresql://obmd:{SECRET}@db/obmd',
        f'postgresql://obmd:{SECRET}@{SECRET}@db/obmd',
        f'rabbit://obmd:{SECRET}@mq:5672/',
        f'http://c1:8381/stream/{SECRET}?replay=5',
        f"{{'password': '{SECRET}'}}",
        f'"adminPass": "{SECRET}"',
    ],
)
def test_a_secret_is_masked(text):
    scrubbed = scrubbing.scrub(text)
    assert SECRET not in scrubbed
    assert '***' in scrubbed


@pytest.mark.parametrize(
    'text',
    [
        'GET /node/n1/power_status 200',
        'the token of node n1 was replaced',
        'node "basic" of rack1 answered in 12 ms',
        'http://127.0.0.1:8380',
    ],
)
def test_other_text_is_left_alone(text):
    assert scrubbing.scrub(text) == text


@pytest.fixture
def log():
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    handler.addFilter(scrubbing.Scrub())
    logger = logging.getLogger('test_scrubbing')
    logger.addHandler(handler)
    logger.propagate = False
    yield logger, output
    logger.removeHandler(handler)


def test_the_filter_masks_messages_and_their_arguments(log):
    logger, output = log
    logger.warning('asked for %s of %d', f'/node/x/console?token={SECRET}', 5)
    assert output.getvalue().startswith('asked for /node/x/console?token=***')
    assert SECRET not in output.getvalue()


def test_the_filter_masks_tracebacks(log):
    logger, output = log
    try:
        raise ValueError(f'token={SECRET}')
    except ValueError:
        logger.exception('failed')
    assert 'Traceback' in output.getvalue()
    assert 'ValueError' in output.getvalue()
    assert SECRET not in output.getvalue()


def test_a_record_that_cannot_be_formatted_is_told_without_its_arguments(log):
    logger, output = log
    logger.warning('%d nodes', SECRET)
    assert '%d nodes' in output.getvalue()
    assert SECRET not in output.getvalue()
