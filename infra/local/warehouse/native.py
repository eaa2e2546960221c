"""Native blocks as network clients read them: consumes the engine's blocks, produces them with their framing.

chDB writes the Native format for files (revision 0). A client that names its protocol revision, as
clickhouse-connect and Grafana's clickhouse-go do, expects a BlockInfo before each block and, from revision
54454 on, a byte after each column's type that says whether its serialization is a special one. A block does
not tell where its columns end, so the way is found by their types; the data themselves pass as they are.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

from infra.local.warehouse.errors import NOT_IMPLEMENTED, EngineError, refused

CUSTOM_SERIALIZATION_REVISION = 54454
OLDEST_REVISION = (
    54405  # before it ClickHouse rewrites LowCardinality for its clients, which nobody needs today
)
# Field 1, is_overflows: 0; field 2, bucket_num: -1; end of fields. Later fields may be left out.
BLOCK_INFO = b"\x01\x00\x02\xff\xff\xff\xff\x00"
_DEFAULT_SERIALIZATION = b"\x00"

_WIDTHS = {
    **dict.fromkeys(("UInt8", "Int8", "Bool", "Enum8", "Nothing"), 1),
    **dict.fromkeys(("UInt16", "Int16", "Enum16", "Date", "BFloat16"), 2),
    **dict.fromkeys(("UInt32", "Int32", "Float32", "Date32", "DateTime", "Time", "IPv4"), 4),
    **dict.fromkeys(("UInt64", "Int64", "Float64", "DateTime64", "Time64"), 8),
    **dict.fromkeys(("UInt128", "Int128", "UUID", "IPv6", "Point"), 16),
    **dict.fromkeys(("UInt256", "Int256"), 32),
}
_SAME_AS = {
    "Ring": "Array(Point)",
    "LineString": "Array(Point)",
    "Polygon": "Array(Ring)",
    "MultiLineString": "Array(LineString)",
    "MultiPolygon": "Array(Polygon)",
}
_INTERVAL = re.compile(r"Interval[A-Z][a-z]+")  # an Int64 whatever its unit
_DECIMALS = ((9, 4), (18, 8), (38, 16), (76, 32))  # digits and bytes
_TYPE = re.compile(r"(\w+)(?:\((.*)\))?", re.DOTALL)
_TOKEN = re.compile(r"'(?:[^'\\]|\\.|'')*'|`(?:[^`\\]|\\.|``)*`|[(),]|[^'`(),]+|.", re.DOTALL)
_ELEMENT_NAME = re.compile(r"(?:`(?:[^`\\]|\\.|``)*`|[A-Za-z_]\w*)\s+(?=[A-Z])", re.DOTALL)
_SHARED_DICTIONARY = 1 << 8  # LowCardinality's flag for a dictionary that is kept in another stream

Skip = Callable[[bytes, int, int], int]


@dataclass(frozen=True)
class Layout:
    """How a type's values lie in a column.

    Attributes:
        skip: from a block, where the values begin and their number to where they end.
        prefix_bytes: what stands once before the column's values (LowCardinality's versions).
    """

    skip: Skip
    prefix_bytes: int = 0


def framed(piece: bytes, rows: int, revision: int) -> bytes:
    """Frame whole blocks for a client.

    Args:
        piece: whole blocks as of revision 0; none at all when empty.
        rows: the number of rows in them together.
        revision: the client's ``client_protocol_version``.

    Raises:
        EngineError: code 48, the revision is too old or a column's type is one whose end is not found
            (Dynamic, JSON, Variant, AggregateFunction …); code 33, the blocks are not whole.
    """
    if not piece:
        return piece
    if revision < OLDEST_REVISION:
        message = f"client_protocol_version {revision} is older than {OLDEST_REVISION}"
        raise refused(NOT_IMPLEMENTED, "NOT_IMPLEMENTED", message)
    try:
        # One block needs nothing but its BlockInfo, so older clients get every type.
        if revision < CUSTOM_SERIALIZATION_REVISION and _header(piece, 0)[1] == rows:
            return BLOCK_INFO + piece
        return _with_framing(piece, serializations=revision >= CUSTOM_SERIALIZATION_REVISION)
    except (IndexError, UnicodeDecodeError):
        raise _broken() from None


def _with_framing(piece: bytes, *, serializations: bool) -> bytes:
    view, parts, at, done = memoryview(piece), list[bytes | memoryview](), 0, 0
    while at < len(piece):
        parts.append(BLOCK_INFO)
        columns, rows, at = _header(piece, at)
        for _ in range(columns):
            at = _after_string(piece, at)
            type_start, type_size = _uvarint(piece, at)
            at = type_start + type_size
            if serializations:
                parts += view[done:at], _DEFAULT_SERIALIZATION
                done = at
            # A block without rows has neither prefixes nor values.
            if rows:
                column = layout(piece[type_start:at].decode())
                at = column.skip(piece, at + column.prefix_bytes, rows)
        parts.append(view[done:at])
        done = at
    if at != len(piece):
        raise _broken()
    return b"".join(parts)


def _header(data: bytes, at: int) -> tuple[int, int, int]:
    at, columns = _uvarint(data, at)
    at, rows = _uvarint(data, at)
    return columns, rows, at


def _uvarint(data: bytes, at: int) -> tuple[int, int]:
    """Where the number ends, and the number."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return at, value
        shift += 7


def _u64(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


def _after_string(data: bytes, at: int) -> int:
    at, size = _uvarint(data, at)
    return at + size


@lru_cache(maxsize=1024)
def layout(name: str) -> Layout:
    """The layout of a type by its name.

    Raises:
        EngineError: code 48, the type is not known.
    """
    found = _TYPE.fullmatch(name)
    if found is None:
        raise _unknown(name)
    kind, arguments = found.group(1), found.group(2) or ""
    width = _width(kind, arguments)
    if width:
        return Layout(partial(_skip_fixed, width))
    if kind == "String":
        return Layout(_skip_strings)
    if kind in _SAME_AS:
        return layout(_SAME_AS[kind])
    if kind == "SimpleAggregateFunction":
        return layout(_split(arguments)[-1])
    if kind == "LowCardinality":
        return Layout(partial(_skip_low_cardinality, layout(_dictionary_type(arguments))), 8)
    if kind not in ("Array", "Map", "Nested", "Nullable", "Tuple"):
        raise _unknown(name)
    parts = tuple(layout(_ELEMENT_NAME.sub("", part, count=1)) for part in _split(arguments))
    skip_parts = partial(_skip_tuple, parts)
    prefix_bytes = sum(part.prefix_bytes for part in parts)
    if kind == "Tuple":
        return Layout(skip_parts, prefix_bytes)
    if kind == "Nullable":
        return Layout(partial(_skip_nullable, skip_parts), prefix_bytes)
    return Layout(partial(_skip_array, skip_parts), prefix_bytes)


def _width(kind: str, arguments: str) -> int:
    """Bytes of each value of a type of fixed width, else 0."""
    if kind == "FixedString":
        return int(arguments)
    if kind == "Decimal":
        digits = int(arguments.partition(",")[0])
        return next(width for most, width in _DECIMALS if digits <= most)
    if kind == "Tuple" and not arguments:
        return 1
    return 8 if _INTERVAL.fullmatch(kind) else _WIDTHS.get(kind, 0)


def _dictionary_type(name: str) -> str:
    return name.removeprefix("Nullable(").removesuffix(")") if name.startswith("Nullable(") else name


def _split(arguments: str) -> list[str]:
    """Split at the commas that stand in no parentheses and no quotes."""
    parts, depth = [""], 0
    for word in _TOKEN.findall(arguments):
        depth += (word == "(") - (word == ")")
        if word == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += word
    return [part.strip() for part in parts]


def _skip_fixed(width: int, _data: bytes, at: int, rows: int) -> int:
    return at + width * rows


def _skip_strings(data: bytes, at: int, rows: int) -> int:
    for _ in range(rows):
        size = data[at]
        if size < 0x80:  # the usual case, and the only loop over values here
            at += size + 1
        else:
            at = _after_string(data, at)
    return at


def _skip_nullable(skip_parts: Skip, data: bytes, at: int, rows: int) -> int:
    return skip_parts(data, at + rows, rows)


def _skip_tuple(parts: tuple[Layout, ...], data: bytes, at: int, rows: int) -> int:
    for part in parts:
        at = part.skip(data, at, rows)
    return at


def _skip_array(skip_parts: Skip, data: bytes, at: int, rows: int) -> int:
    """Skip the offsets, the last of which is the number of values in all, and the values."""
    at += 8 * rows
    return skip_parts(data, at, _u64(data, at - 8) if rows else 0)


def _skip_low_cardinality(inner: Layout, data: bytes, at: int, rows: int) -> int:
    """Skip the flags with the indexes' width, the dictionary and the indexes."""
    if not rows:
        return at
    flags, keys = _u64(data, at), _u64(data, at + 8)
    if flags & _SHARED_DICTIONARY:
        raise _broken()
    at = inner.skip(data, at + 16, keys)
    if _u64(data, at) != rows:
        raise _broken()
    return at + 8 + (rows << (flags & 0xFF))


def _unknown(name: str) -> EngineError:
    message = f"Columns of type {name} cannot be sent in format Native to a client of this protocol version"
    return refused(NOT_IMPLEMENTED, "NOT_IMPLEMENTED", message)


def _broken() -> EngineError:
    return refused(33, "CANNOT_READ_ALL_DATA", "The engine's Native blocks are not as expected")
