"""Outputs of a batch, as a sequence."""

import pytest

from schemas.outputs import Outputs
from schemas.record import Outgoing


def test_the_topics_records_come_first_then_the_others():
    """Both in their order; a record with headers, without a key or with a partition is not packed."""
    clean = [Outgoing("clean", b"k%d" % at, b"v") for at in range(3)]
    others = [
        Outgoing("dead", b"k", b"v"),
        Outgoing("clean", None, b"v"),
        Outgoing("clean", b"k", b"v", 2),
        Outgoing("clean", b"k", b"v", None, (("h", b"x"),)),
    ]
    outputs = Outputs("clean")
    outputs.extend([clean[0], others[0], others[1], clean[1], others[2], clean[2], others[3]])
    assert list(outputs) == clean + others == outputs
    assert len(outputs.packed) == 3
    assert [outputs[at] for at in range(7)] == list(outputs)
    assert (outputs[-1], outputs[-7], outputs[2:4]) == (others[3], clean[0], [clean[2], others[0]])
    with pytest.raises(IndexError):
        outputs[7]
