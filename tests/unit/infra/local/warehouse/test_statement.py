"""Where an INSERT's data begin, and what the front refuses before the engine sees it."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.warehouse.errors import EngineError
from infra.local.warehouse.statement import read_statement


@pytest.mark.parametrize(
    ("head", "data", "name"),
    [
        (b"INSERT INTO t FORMAT JSONEachRow\n", b'{"a":1}\n', "JSONEachRow"),
        (b"insert into t (a, `format`) settings x=1 format CSV\r\n", b"1;2", "CSV"),
        (b"-- FORMAT TSV\nINSERT /* VALUES */ INTO `values` FORMAT Native ", b"\x00\x01\n", "Native"),
        (b"INSERT INTO t VALUES", b" (1, ';')", "Values"),
        (b"INSERT INTO t (values) VALUES", b"(1)", "Values"),
        (b"INSERT INTO db.t FORMAT RowBinary\n", b"\n\n", "RowBinary"),
    ],
)
def test_an_insert_is_cut_where_its_data_begin(head: bytes, data: bytes, name: str) -> None:
    """Keywords in quotes, comments and column lists are none; the data's bytes stay as they are."""
    statement = read_statement(head + data)
    assert statement.verb == "INSERT"
    assert statement.insert_format == name
    assert (head + data)[statement.data_start :] == data
    assert b"INTO" in statement.sql.upper()
    assert not statement.sql.upper().rstrip().endswith((b"CSV", b"NATIVE"))


@pytest.mark.parametrize(
    "sql",
    [
        b"SELECT 'INSERT INTO t FORMAT CSV'",
        b"INSERT INTO t SELECT 1 FORMAT CSV",
        b"WITH 1 AS x SELECT x",
        b"",
        b"-- c",
    ],
)
def test_other_statements_carry_no_data(sql: bytes) -> None:
    """Only an INSERT with FORMAT or VALUES has data behind it."""
    assert read_statement(sql).insert_format is None


@pytest.mark.parametrize(
    "sql", [b"SELECT 1 INTO OUTFILE '/tmp/x'", b"insert into t from /**/ infile '/etc/passwd' format CSV"]
)
def test_the_servers_own_files_are_out_of_reach(sql: bytes) -> None:
    """No client reads or writes a file of the server's by a query's own clause."""
    with pytest.raises(EngineError) as refused:
        read_statement(sql)
    assert refused.value.code == 358


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        (b"SELECT file('/etc/passwd')", "file"),
        (b"SELECT * FROM `url` ('http://x')", "url"),
        (b"SELECT * FROM clusterAllReplicas('c', system.one)", "clusterAllReplicas"),
        (b"SELECT file FROM t WHERE f(file)", None),
        (b"SELECT 'file(1)'", None),
    ],
)
def test_functions_that_reach_outside_are_seen(sql: bytes, name: str | None) -> None:
    """A call is one, a column or a string of that name is none."""
    assert read_statement(sql).outside == name


def test_a_settings_clause_is_told_from_a_table_of_that_name() -> None:
    """``system.settings LIMIT`` is no clause, ``SETTINGS a = 1`` is."""
    assert read_statement(b"SELECT name FROM system.settings LIMIT 1").settings is None
    sql = b"SELECT 1 SETTINGS max_threads = 1 FORMAT CSV"
    assert read_statement(sql).settings == (sql.index(b"SETTINGS"), sql.index(b"FORMAT"))


@given(st.binary(max_size=200))
def test_any_data_pass_untouched(data: bytes) -> None:
    """Whatever follows the head's line break is data, byte for byte."""
    head = b"INSERT INTO t FORMAT RowBinary\n"
    statement = read_statement(head + data)
    assert statement.data_start == len(head)
    assert statement.insert_format == "RowBinary"


@given(st.binary(max_size=300))
def test_no_text_breaks_the_reader(text: bytes) -> None:
    """Garbage is read or refused, never a crash."""
    with suppress(EngineError):  # the one error that the reader may raise
        assert read_statement(text).data_start <= len(text)
