"""Applies the numbered migrations to the warehouse; run by the sink at its start, before it writes.

Every statement is idempotent (`IF NOT EXISTS`, `OR REPLACE`), for ClickHouse has no transaction around a
schema change: two that start at once, or one that died half-way, do no harm, and a migration is recorded,
once, only after all of its statements succeeded. A migration that was applied is never edited: a new one
follows.
"""

import re
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from infra.runtime.log import get_logger
from infra.runtime.warehouse import Warehouse
from schemas.errors import Fatal

FOLDER: Final = Path(__file__).parent / "migrations"

_log = get_logger(__name__)
_FILE: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_LEDGER: Final = """
CREATE TABLE IF NOT EXISTS {database}.migrations
(number UInt32, name String, sha256 String, applied_at DateTime64(3, 'UTC') DEFAULT now64(3))
ENGINE = MergeTree ORDER BY number SETTINGS non_replicated_deduplication_window = 10000
"""


class Migration(NamedTuple):
    """One numbered file."""

    number: int
    name: str
    sha256: str
    statements: tuple[str, ...]


def read(folder: Path = FOLDER) -> list[Migration]:
    """Read the migrations of a folder, lowest number first.

    Raises:
        Fatal: a file is named otherwise than `NNNN_name.sql`, or two have one number.
    """
    migrations = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE.fullmatch(path.name)
        if match is None:
            raise Fatal(f"{path.name} is no migration's name; 0007_what_it_does.sql would be")
        text = path.read_text(encoding="utf-8")
        bare = re.sub(r"^\s*--.*$", "", text, flags=re.MULTILINE)
        statements = tuple(part.strip() for part in re.split(r";\s*\n", bare + "\n") if part.strip())
        migrations.append(Migration(int(match[1]), match[2], sha256(text.encode()).hexdigest(), statements))
    numbers = [migration.number for migration in migrations]
    if len(set(numbers)) != len(numbers):
        raise Fatal(f"two migrations have one number: {numbers}")
    return migrations


async def migrate(warehouse: Warehouse, migrations: list[Migration] | None = None) -> list[int]:
    """Apply what is missing and return the numbers applied now.

    Raises:
        Fatal: a migration was edited after it had been applied.
        Retryable: ClickHouse does not answer; run it again.
    """
    database = warehouse.database
    await warehouse.command(f"CREATE DATABASE IF NOT EXISTS {database}")
    await warehouse.command(_LEDGER.replace("{database}", database))
    rows = await warehouse.query(f"SELECT number, sha256 FROM {database}.migrations")
    done = {int(row["number"]): str(row["sha256"]) for row in rows}
    applied = []
    for migration in read() if migrations is None else migrations:
        if migration.number in done:
            if done[migration.number] != migration.sha256:
                message = (
                    f"migration {migration.number} ({migration.name}) was edited after it had been applied"
                )
                raise Fatal(f"{message}; undo the edit and add a new migration")
            continue
        for statement in migration.statements:
            await warehouse.command(statement.replace("{database}", database))
        await _record(warehouse, migration)
        applied.append(migration.number)
        _log.info("migration.applied", number=migration.number, name=migration.name)
    return applied


async def _record(warehouse: Warehouse, migration: Migration) -> None:
    row = f'{{"number":{migration.number},"name":"{migration.name}","sha256":"{migration.sha256}"}}'
    await warehouse.insert_json("migrations", row.encode(), token=f"migration:{migration.number}")
