"""Native blocks are framed for a client's protocol revision, and nothing else in them changes."""

from collections.abc import Iterator, Mapping
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.warehouse.engine import Engine
from infra.local.warehouse.errors import EngineError
from infra.local.warehouse.native import framed
from infra.local.warehouse.query import Query, Summary
from infra.local.warehouse.statement import read_statement
from tests.native_blocks import BLOCK_INFO, read_native

CURRENT, BLOCK_INFO_ALONE = 54460, 54405
ALLOWED = {"allow_suspicious_low_cardinality_types": "1", "enable_nullable_tuple_type": "1"}
SIMPLE = [
    *("UInt8", "UInt16", "UInt32", "UInt64", "UInt128", "UInt256", "Int8", "Int64", "Int128", "Int256"),
    *("Float32", "Float64", "Bool", "Date", "Date32", "DateTime", "DateTime64(3)", "UUID", "IPv4", "IPv6"),
    *("String", "FixedString(5)", "Decimal(9, 2)", "Decimal(18, 3)", "Decimal(38, 4)", "Decimal(76, 5)"),
    *("Enum8('a,)' = 1, 'b\\'(' = 2)", "Enum16('x' = 1, 'y' = 300)", "DateTime('Europe/Berlin')"),
]
DICTIONARIES = ["LowCardinality(String)", "LowCardinality(Nullable(String))", "LowCardinality(UInt16)"]
KEYS = ["String", "UInt32", "LowCardinality(String)", "Date"]


def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Types that are made of others."""
    return st.one_of(
        inner.map("Array({})".format),
        st.tuples(st.sampled_from(KEYS), inner).map(lambda pair: f"Map({pair[0]}, {pair[1]})"),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"Tuple({', '.join(parts)})"),
        st.tuples(inner, inner).map(lambda pair: f"Tuple(`a, \\`(` {pair[0]}, b {pair[1]})"),
    )


LEAVES = st.sampled_from(SIMPLE + DICTIONARIES) | st.sampled_from(SIMPLE).map("Nullable({})".format)
TYPES = st.recursive(LEAVES, nested, max_leaves=4)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine of this module's own."""
    running = Engine(tmp_path_factory.mktemp("native") / "store")
    yield running
    running.close()


def native(engine: Engine, sql: str, revision: int = 0, own: Mapping[str, str] = ALLOWED) -> bytes:
    """A query's result in format Native."""
    query = Query(read_statement(sql.encode()), "Native", settings=own, protocol_version=revision)
    return b"".join(engine.run(query, Summary()))


def test_the_bytes_are_the_protocols() -> None:
    """BlockInfo before each block, a zero behind each type, every other byte as it was."""
    first = [b"\x02\x02", b"\x01a\x05UInt8", b"\x07\x08", b"\x01s\x06String", b"\x00\x81\x01" + b"x" * 129]
    last = [b"\x02\x01", b"\x01a\x05UInt8", b"\x09", b"\x01s\x06String", b"\x01y"]
    plain = b"".join(first + last)
    info = b"\x01\x00" + b"\x02\xff\xff\xff\xff" + b"\x00"

    def by_hand(parts: list[bytes], mark: bytes) -> bytes:
        head, a, a_values, s, s_values = parts
        return info + head + a + mark + a_values + s + mark + s_values

    assert framed(plain, 3, CURRENT) == by_hand(first, b"\x00") + by_hand(last, b"\x00")
    assert framed(plain, 3, BLOCK_INFO_ALONE) == by_hand(first, b"") + by_hand(last, b"")
    assert framed(b"".join(first), 2, BLOCK_INFO_ALONE) == by_hand(first, b"")


def test_a_dictionarys_version_stands_before_all_else_of_its_column() -> None:
    """Array(LowCardinality(String)): version, offsets, flags, dictionary, indexes."""
    name = b"\x01l\x1dArray(LowCardinality(String))"
    version, offsets = (1).to_bytes(8, "little"), (0).to_bytes(8, "little") + (3).to_bytes(8, "little")
    flags, keys = (0x600).to_bytes(8, "little"), (2).to_bytes(8, "little") + b"\x00\x01q"
    values = version + offsets + flags + keys + (3).to_bytes(8, "little") + b"\x01\x00\x01"
    end = b"\x01b\x04Bool"
    assert framed(b"\x02\x02" + name + values + end + b"\x00\x01", 2, CURRENT) == (
        BLOCK_INFO + b"\x02\x02" + name + b"\x00" + values + end + b"\x00" + b"\x00\x01"
    )


def test_a_block_without_rows_has_types_alone() -> None:
    """Neither versions nor values follow the types."""
    name = b"\x01l\x16LowCardinality(String)"
    assert framed(b"\x01\x00" + name, 0, CURRENT) == BLOCK_INFO + b"\x01\x00" + name + b"\x00"
    assert framed(b"", 0, CURRENT) == b""


@settings(max_examples=60, deadline=None)
@given(types=st.lists(TYPES, min_size=1, max_size=4), rows=st.integers(1, 40), seed=st.integers(0, 2**32 - 1))
def test_every_type_is_read_back(engine: Engine, types: list[str], rows: int, seed: int) -> None:
    """Random tables of random types: what a client reads is what the engine's own bytes say."""
    structure = ", ".join(f"c{n} {name}" for n, name in enumerate(types)).replace("\\", "\\\\")
    structure = structure.replace("'", "\\'")
    # One thread, so that both runs cut and order the blocks alike.
    sql = f"SELECT * FROM generateRandom('{structure}', {seed}, 150, 3) LIMIT {rows}"
    own = {**ALLOWED, "max_threads": "1", "max_block_size": "16"}
    plain = native(engine, sql, own=own)
    expected = repr(read_native(plain, 0))
    for revision in (BLOCK_INFO_ALONE, CURRENT):
        assert repr(read_native(native(engine, sql, revision, own), revision)) == expected
        assert repr(read_native(framed(plain, -1, revision), revision)) == expected


@pytest.mark.parametrize(
    "column",
    [
        "NULL",
        "[]",
        "tuple()",
        "toIntervalDay(number)",
        "[toIntervalMillisecond(number)]",
        "1::BFloat16",
        "'12:00:00'::Time",
        "'12:00:00'::Time64(3)",
        "(1, 2)::Point",
        "[[[(0, 0), (10, 0), (10, 10)]]]::MultiPolygon",
        "[[(0, 0), (10, 0)]]::MultiLineString",
        "[(1, 'a'), (number, 'b')]::Nested(a UInt64, b LowCardinality(String))",
        "1::SimpleAggregateFunction(sum, UInt64)",
        "CAST(if(number % 2, NULL, (1, 'x')) AS Nullable(Tuple(UInt8, String)))",
        "if(number % 2, [], ['a', NULL])::Array(LowCardinality(Nullable(String)))",
        "toLowCardinality(toString(number))",
        "repeat('x', number)",
    ],
)
def test_rarer_columns_end_where_they_end(engine: Engine, column: str) -> None:
    """The next column's header is found behind each, in results of several blocks."""
    sql = f"SELECT {column} AS c, 'end' AS e FROM numbers(700) SETTINGS max_block_size = 300"
    plain, sent = native(engine, sql), native(engine, sql, CURRENT)
    name = native(engine, f"SELECT toTypeName({column}) FROM numbers(1) FORMAT RowBinary")
    blocks = sent.count(BLOCK_INFO)
    end = b"\x01e\x06String"
    assert blocks == sent.count(b"\x01c" + name + b"\x00") == sent.count(end + b"\x00\x03end") == 3
    without = sent.replace(BLOCK_INFO, b"").replace(b"\x01c" + name + b"\x00", b"\x01c" + name)
    assert without.replace(end + b"\x00", end) == plain


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("'{}'::JSON", "JSON"),
        ("[1::Dynamic]", "Dynamic"),
        ("1::Variant(UInt8, String)", "Variant(String, UInt8)"),
        ("sumState(1)", "AggregateFunction(sum, UInt8)"),
    ],
)
def test_types_without_a_known_end_are_refused_by_name(engine: Engine, column: str, name: str) -> None:
    """Code 48 before any byte; older clients, who need no column's end, get them; the engine goes on."""
    with pytest.raises(EngineError) as refusal:
        native(engine, f"SELECT {column}", CURRENT)
    assert refusal.value.code == 48
    assert f" {name} " in refusal.value.text
    plain = native(engine, f"SELECT {column}")
    assert native(engine, f"SELECT {column}", BLOCK_INFO_ALONE) == BLOCK_INFO + plain
    assert native(engine, "SELECT 1 AS x", CURRENT) == BLOCK_INFO + b"\x01\x01\x01x\x05UInt8\x00\x01"


def test_other_formats_are_left_alone(engine: Engine) -> None:
    """The protocol version is about Native; clients from before LowCardinality are refused."""
    query = Query(read_statement(b"SELECT 1 FORMAT CSV"), "Native", protocol_version=CURRENT)
    assert b"".join(engine.run(query, Summary())) == b"1\n"
    with pytest.raises(EngineError, match="54058 is older"):
        native(engine, "SELECT 1", 54058)


@given(st.binary(min_size=1, max_size=60), st.integers(0, 300))
def test_broken_blocks_are_errors(data: bytes, rows: int) -> None:
    """Bytes that are no blocks are refused, never sent on with wrong framing nor a crash."""
    whole = b"\x01\x02\x01s\x06String\x01a\x03" + data
    with suppress(EngineError):  # the one error that it may raise
        assert len(framed(whole, rows, CURRENT)) > len(whole)
