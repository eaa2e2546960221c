"""One query on its way through the engine: what was asked, and what it did."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from infra.local.warehouse.statement import Statement


@dataclass
class Query:
    """One request for the engine.

    Attributes:
        protocol_version: the revision that Native results are framed for; 0 is the format of files.
        pieces: an INSERT's data in order, for INSERTs alone.
    """

    statement: Statement
    format: str = "TabSeparated"
    params: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    database: str = ""
    readonly: int = 0
    session_id: str = ""
    session_timeout_s: float = 60.0
    session_check: bool = False
    protocol_version: int = 0
    pieces: Iterable[bytes] = ()


@dataclass
class Summary:
    """What a query did, as far as the engine tells."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    elapsed_ns: int = 0

    def add(self, result: Any) -> None:
        """Count one result of the engine in."""
        self.read_rows += 0 if result.rows_written() else result.storage_rows_read()
        self.read_bytes += 0 if result.rows_written() else result.storage_bytes_read()
        self.result_rows += result.rows_read()
        self.written_rows += result.rows_written()
        self.written_bytes += result.bytes_written()
