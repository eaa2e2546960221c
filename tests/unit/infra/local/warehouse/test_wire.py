"""Request and response compression."""

import gzip
import zlib

import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from infra.local.warehouse.errors import EngineError
from infra.local.warehouse.wire import PIECE_BYTES, decoded, encoder_for

PACK = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "lz4": lz4.frame.compress,
    "": bytes,
}


def pieces_of(data: bytes, size: int) -> list[bytes]:
    """The data in pieces of a size."""
    return [data[i : i + size] for i in range(0, len(data), size)]


@pytest.mark.parametrize("name", PACK)
@given(data=st.binary(max_size=400), size=st.integers(1, 50))
def test_decoding_undoes_encoding_whatever_the_pieces(name: str, data: bytes, size: int) -> None:
    """The cuts between pieces do not matter."""
    assert b"".join(decoded(pieces_of(PACK[name](data), size), name)) == data


@pytest.mark.parametrize("name", ["gzip", "deflate", "zstd", "lz4"])
@given(parts=st.lists(st.binary(max_size=100), max_size=5))
def test_our_encoders_are_understood(name: str, parts: list[bytes]) -> None:
    """What is sent back can be read by the encoding's name."""
    found = encoder_for(f"br;q=1.0, {name}")
    assert found is not None
    assert found[0] == name
    packed = b"".join(found[1].compress(part) for part in parts) + found[1].flush()
    assert b"".join(decoded([packed], name)) == b"".join(parts)


@pytest.mark.parametrize("name", ["gzip", "deflate", "lz4", "zstd"])
def test_a_small_body_does_not_unpack_into_memory_at_once(name: str) -> None:
    """A bomb comes out in bounded pieces, which the reader may stop taking."""
    for piece in decoded([PACK[name](bytes(64 << 20))], name):
        assert len(piece) <= PIECE_BYTES
        break


@pytest.mark.parametrize(
    ("name", "body"), [("gzip", b"nope"), ("zstd", b"nope"), ("lz4", b"nope"), ("deflate", b"nope")]
)
def test_wrong_bytes_are_refused(name: str, body: bytes) -> None:
    """Bytes that are not in the encoding they claim are code 271."""
    with pytest.raises(EngineError) as refused:
        list(decoded([body], name))
    assert refused.value.code == 271


@pytest.mark.parametrize("name", ["gzip", "deflate", "lz4"])
def test_a_cut_off_body_is_refused(name: str) -> None:
    """A stream that ends too early is no shorter stream."""
    with pytest.raises(EngineError):
        list(decoded([PACK[name](b"some rows\n" * 100)[:-6]], name))


def test_an_unknown_encoding_is_refused() -> None:
    """Code 89 names it."""
    with pytest.raises(EngineError, match="snappy"):
        list(decoded([b"x"], "snappy"))
    assert encoder_for("identity, br") is None
