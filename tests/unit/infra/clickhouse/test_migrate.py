"""Reading of migration files."""

import pytest

from infra.clickhouse.migrate import FOLDER, read
from schemas.errors import Fatal


def test_the_projects_own_migrations_are_numbered_without_gap():
    """Numbers run from 1, and every statement can be run again."""
    migrations = read()
    assert [m.number for m in migrations] == list(range(1, len(list(FOLDER.glob("*.sql"))) + 1))
    for migration in migrations:
        for statement in migration.statements:
            assert any(form in statement for form in ("IF NOT EXISTS", "OR REPLACE", "MODIFY COLUMN"))
            assert "{database}." in statement


def test_misnamed_and_doubled_files_are_refused(tmp_path):
    """A file that would be passed over, or applied in an order of chance, stops the start."""
    (tmp_path / "0001_a.sql").write_text("SELECT 1;\n-- note; here\nSELECT 2;\n")
    assert read(tmp_path)[0].statements == ("SELECT 1", "SELECT 2")
    (tmp_path / "0001_b.sql").write_text("SELECT 1")
    with pytest.raises(Fatal):
        read(tmp_path)
    (tmp_path / "0001_b.sql").rename(tmp_path / "later.sql")
    with pytest.raises(Fatal):
        read(tmp_path)
