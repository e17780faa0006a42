import pytest

from obmd.runner import messages


def test_messages_are_put_together_from_single_bytes():
    decoder = messages.Decoder()
    data = messages.encode({'do': 'a'}) + messages.encode({'do': 'b', 'x': 'é\ud800'})
    found = [m for i in range(len(data)) for m in decoder.feed(data[i : i + 1])]
    assert found == [{'do': 'a'}, {'do': 'b', 'x': 'é\ud800'}]


def test_several_messages_may_come_at_once():
    assert len(messages.Decoder().feed(messages.encode({}) * 3)) == 3


@pytest.mark.parametrize(
    'data',
    [
        messages.LENGTH.pack(messages.LONGEST + 1),
        messages.LENGTH.pack(1) + b'{',
        messages.LENGTH.pack(2) + b'[]',
        messages.LENGTH.pack(1) + b'\xff',
    ],
)
def test_what_is_no_message_is_told(data):
    with pytest.raises(messages.Broken):
        messages.Decoder().feed(data)


def test_a_message_that_would_not_be_taken_is_not_made():
    with pytest.raises(messages.Broken):
        messages.encode({'x': 'y' * messages.LONGEST})
