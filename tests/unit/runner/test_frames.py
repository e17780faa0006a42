import pytest

from obmd.runner import frames


def frame(position, kind, payload):
    return frames.header(position, kind, len(payload)) + payload


def test_frames_come_back_in_order():
    data = frame(0, frames.STDOUT, b'a') + frame(7, frames.STDERR, b'')
    assert frames.parse(data) == ([(0, frames.STDOUT, b'a'), (7, frames.STDERR, b'')], len(data))


@pytest.mark.parametrize('cut', range(1, frames.HEADER.size + 3))
def test_a_frame_that_is_not_whole_is_left_for_later(cut):
    first, second = frame(0, frames.STDOUT, b'a'), frame(1, frames.STDOUT, b'bcd')
    found, after = frames.parse((first + second)[:-cut])
    assert (found, after) == ([(0, frames.STDOUT, b'a')], len(first))


def test_no_more_frames_are_taken_than_asked_for():
    data = frame(0, frames.STDOUT, b'a') * 3
    found, after = frames.parse(data, 0, 2)
    assert len(found) == 2
    assert frames.parse(data, after)[0] == [(0, frames.STDOUT, b'a')]


@pytest.mark.parametrize('header', [(0, 0, 1), (0, 5, 1), (0, frames.STDOUT, frames.LONGEST + 1)])
def test_what_is_no_frame_is_told(header):
    with pytest.raises(frames.Damaged):
        frames.parse(frames.header(*header) + b'x')


def test_each_file_has_a_name_of_its_own():
    assert frames.name_of(frames.opening()) != frames.name_of(frames.opening())


@pytest.mark.parametrize('head', [b'', b'obmdout1', b'somethingelse___________'])
def test_what_does_not_begin_so_has_no_name(head):
    assert frames.name_of(head) is None


def test_an_end_says_outcome_and_status():
    assert frames.read_end(frames.end('signalled', 137)) == ('signalled', 137)


@pytest.mark.parametrize('payload', [b'', b'[]', b'{"outcome": 1}', b'\xff'])
def test_an_end_that_says_neither_is_damage(payload):
    with pytest.raises(frames.Damaged):
        frames.read_end(payload)


def test_a_gap_counts_beyond_four_gigabytes():
    assert frames.read_gap(frames.gap(2**40)) == 2**40


def test_a_gap_without_a_count_is_damage():
    with pytest.raises(frames.Damaged):
        frames.read_gap(b'123')
