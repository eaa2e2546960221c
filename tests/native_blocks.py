"""Reads Native blocks as network clients do, by the column readers of clickhouse-connect."""

from types import SimpleNamespace
from typing import Any

from clickhouse_connect.datatypes import registry
from clickhouse_connect.driver.exceptions import StreamCompleteException
from clickhouse_connect.driver.query import QueryContext
from clickhouse_connect.driverc.buffer import (  # type: ignore[import-not-found]  # an extension, untyped
    ResponseBuffer,
)

BLOCK_INFO = bytes.fromhex("010002ffffffff00")


def read_native(data: bytes, revision: int) -> dict[str, list[Any]]:
    """The columns by name; fails on framing other than the revision's."""
    source: Any = ResponseBuffer(SimpleNamespace(gen=iter([data]), close=lambda: None))
    columns: dict[str, list[Any]] = {}
    while True:
        try:
            first = source.read_bytes(8) if revision else BLOCK_INFO
            count = source.read_leb128()
        except StreamCompleteException:
            return columns
        assert bytes(first) == BLOCK_INFO
        rows = source.read_leb128()
        for _ in range(count):
            name, type_name = source.read_leb128_str(), source.read_leb128_str()
            if revision >= 54454:
                assert source.read_byte() == 0
            values = (
                registry.get_from_name(type_name).read_column(source, rows, QueryContext()) if rows else []
            )
            assert len(values) == rows
            columns.setdefault(name, []).extend(values)
