"""The warehouse: ClickHouse over its HTTP protocol, through clickhouse-connect's asynchronous client."""

from typing import Any

import clickhouse_connect
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, OperationalError

from schemas.errors import HeadraceError, Retryable


class WarehouseRefused(HeadraceError):
    """ClickHouse understood the statement and refused it: a wrong query, or rows that do not fit."""


class Warehouse:
    """One connection to ClickHouse; use `open`, then `close`."""

    def __init__(self, client: AsyncClient, database: str) -> None:
        self._client = client
        self.database = database

    @classmethod
    async def open(cls, endpoint: str, database: str) -> "Warehouse":
        """Connect to `http://user:password@host:port`.

        Raises:
            Retryable: nobody answers there.
        """
        try:
            client = await clickhouse_connect.get_async_client(
                dsn=endpoint, autogenerate_session_id=False, query_limit=0, compress=False
            )
        except (ClickHouseError, OSError) as error:
            raise Retryable(f"ClickHouse does not answer: {type(error).__name__}") from error
        return cls(client, database)

    async def query(self, sql: str, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Run a query and return its rows by column name. `{name:Type}` in it takes `parameters`."""
        try:
            result = await self._client.query(
                sql, parameters=parameters, settings={"database": self.database}
            )
        except (ClickHouseError, OSError) as error:
            raise _translated(error) from error
        return list(result.named_results())

    async def command(self, sql: str) -> None:
        """Run a statement that returns nothing; it names its database itself."""
        try:
            await self._client.command(sql, use_database=False)
        except (ClickHouseError, OSError) as error:
            raise _translated(error) from error

    async def insert_json(
        self, table: str, rows: bytes, *, token: str = "", settings: dict[str, str] | None = None
    ) -> None:
        """Insert newline-separated JSON objects, passed through as they are.

        `token` makes the insert happen once, however often it is sent.

        Raises:
            WarehouseRefused: a row does not fit the table; nothing was inserted.
            Retryable: ClickHouse did not answer; it may or may not have inserted the rows.
        """
        options: dict[str, Any] = {"date_time_input_format": "best_effort", **(settings or {})}
        if token:
            options["insert_deduplication_token"] = token
        try:
            await self._client.raw_insert(
                f"{self.database}.{table}", insert_block=rows, fmt="JSONEachRow", settings=options
            )
        except (ClickHouseError, OSError) as error:
            raise _translated(error) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()


def _translated(error: Exception) -> HeadraceError:
    """Tell a refusal by ClickHouse from a ClickHouse that is away."""
    message = str(error)
    if isinstance(error, DatabaseError) and not isinstance(error, OperationalError) and "Code:" in message:
        return WarehouseRefused(message)
    return Retryable(f"ClickHouse did not answer: {message}")
