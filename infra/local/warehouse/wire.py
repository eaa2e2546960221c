"""Compression on the wire: consumes a body's pieces and an encoding, produces them de- or encoded."""

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, Protocol, cast

import lz4.frame
import zstandard

from infra.local.warehouse.errors import CANNOT_DECOMPRESS, UNKNOWN_COMPRESSION_METHOD, refused

PIECE_BYTES = 1 << 20


class Encoder(Protocol):
    """Encodes pieces in order."""

    def compress(self, data: bytes, /) -> bytes:
        """Encode one piece; may hold bytes back."""
        ...

    def flush(self) -> bytes:
        """End the stream."""
        ...


class _Lz4:
    def __init__(self) -> None:
        self._inner: Any = lz4.frame.LZ4FrameCompressor()
        self._head: bytes = self._inner.begin()

    def compress(self, data: bytes, /) -> bytes:
        head, self._head = self._head, b""
        return head + bytes(self._inner.compress(data))

    def flush(self) -> bytes:
        head, self._head = self._head, b""
        return head + bytes(self._inner.flush())


_ENCODERS: dict[str, Callable[[], Encoder]] = {
    "zstd": lambda: zstandard.ZstdCompressor(level=1).compressobj(),
    "lz4": _Lz4,
    "gzip": lambda: zlib.compressobj(3, wbits=31),
    "deflate": lambda: zlib.compressobj(3),
}


def encoder_for(accepted: str) -> tuple[str, Encoder] | None:
    """The best known encoding of an ``Accept-Encoding`` header, in the server's order, if any."""
    names = {part.split(";")[0].strip().lower() for part in accepted.split(",")}
    for name, make in _ENCODERS.items():
        if name in names:
            return name, make()
    return None


def decoded(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Decode a body by its ``Content-Encoding``.

    Raises:
        EngineError: the encoding is unknown (89) or the bytes are not in it (271).
    """
    name = encoding.strip().lower()
    if name in ("", "identity"):
        yield from pieces
        return
    if name not in ("gzip", "deflate", "zstd", "lz4"):
        message = f"Unknown compression method '{name}'"
        raise refused(UNKNOWN_COMPRESSION_METHOD, "UNKNOWN_COMPRESSION_METHOD", message)
    try:
        yield from _decode(pieces, name)
    except (zlib.error, zstandard.ZstdError, RuntimeError, EOFError) as error:
        raise refused(CANNOT_DECOMPRESS, "CANNOT_DECOMPRESS", f"Cannot decompress {name}: {error}") from None


def _decode(pieces: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Decode in bounded pieces: a small body that unpacks to gigabytes must not do so in memory at once."""
    if name == "zstd":
        decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27)
        source = cast("IO[bytes]", _Reader(pieces))  # reading is all that is asked of it
        with decompressor.stream_reader(source, read_across_frames=True) as reader:
            while out := reader.read(PIECE_BYTES):
                yield out
    elif name == "lz4":
        yield from _decode_lz4(pieces)
    else:
        yield from _inflate(pieces, 47 if name == "gzip" else 15)


def _inflate(pieces: Iterable[bytes], wbits: int) -> Iterator[bytes]:
    inflater = zlib.decompressobj(wbits=wbits)
    for piece in pieces:
        left = piece
        while left:
            if inflater.eof:  # members in a row are one stream
                inflater = zlib.decompressobj(wbits=wbits)
            out = inflater.decompress(left, PIECE_BYTES)
            if out:
                yield out
            left = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
    tail = inflater.flush()
    if tail:
        yield tail
    if not inflater.eof:
        raise EOFError("the body ends too early")


def _decode_lz4(pieces: Iterable[bytes]) -> Iterator[bytes]:
    decoder: Any = lz4.frame.LZ4FrameDecompressor()
    for piece in pieces:
        left = piece
        while left or not (decoder.needs_input or decoder.eof):
            if decoder.eof:  # frames in a row are one stream
                decoder = lz4.frame.LZ4FrameDecompressor()
            out = decoder.decompress(left, PIECE_BYTES)
            left = (decoder.unused_data or b"") if decoder.eof else b""
            if out:
                yield out
    if not decoder.eof:
        raise EOFError("the body ends too early")


class _Reader:
    """Pieces as a file that is read from."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._left = b""

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes; empty at the end."""
        if not self._left:
            self._left = next(self._pieces, b"")
        if size < 0:
            size = len(self._left)
        out, self._left = self._left[:size], self._left[size:]
        return out
