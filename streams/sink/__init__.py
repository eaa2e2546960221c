"""The sink: consumes every topic that has a contract, and writes each record into ClickHouse, once."""

from streams.sink.worker import run

__all__ = ["run"]
