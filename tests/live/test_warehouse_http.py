"""The warehouse as its clients see it: clickhouse-connect, and plain HTTP as curl and Grafana speak it."""

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import clickhouse_connect
import httpx
import lz4.frame
import pandas as pd
import pyarrow as pa
import pytest
import zstandard
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from infra.local.ports import LOOPBACK, lease_port
from infra.local.process import ProcessSpec, Supervisor
from infra.local.warehouse.spec import warehouse_spec
from tests.native_blocks import BLOCK_INFO, read_native
from tests.waiting import eventually

NOW = datetime(2026, 1, 1, 12, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A warehouse of this module's own."""
    lease = lease_port()
    folder = tmp_path_factory.mktemp("warehouse")
    supervisor = Supervisor()
    supervisor.start(warehouse_spec(folder, lease.port, folder / "clickhouse.log"))
    supervisor.wait_ready("clickhouse")
    yield lease.port
    supervisor.stop_all()
    lease.release()


@pytest.fixture(scope="module")
def client(port: int) -> Client:
    """The ordinary HTTP client."""
    return clickhouse_connect.get_client(host=LOOPBACK, port=port, username="default", password="")


@pytest.fixture
def http(port: int) -> Iterator[httpx.Client]:
    """Plain HTTP."""
    with httpx.Client(base_url=f"http://{LOOPBACK}:{port}", timeout=60) as plain:
        yield plain


@pytest.fixture
def table(client: Client, unique: str) -> str:
    """An empty table that keeps insert tokens."""
    client.command(
        f"CREATE TABLE {unique} (a UInt64, s String, d DateTime64(3, 'UTC'), n Nullable(Float64)) "
        "ENGINE = MergeTree ORDER BY a SETTINGS non_replicated_deduplication_window = 1000"
    )
    return unique


def count(client: Client, table: str) -> int:
    """Rows in a table."""
    return int(client.query(f"SELECT count() FROM {table}").result_rows[0][0])


def test_rows_frames_and_arrow_come_back_as_they_went(client: Client, table: str) -> None:
    """Every way of inserting is read back by every way of querying."""
    summary = client.insert(
        table, [[1, "x", NOW, None], [2, "y'\t\n", NOW, 1.5]], column_names=["a", "s", "d", "n"]
    )
    assert summary.written_rows == 2
    frame = pd.DataFrame({"a": [3], "s": ["q"], "d": [pd.Timestamp(NOW)], "n": [2.0]})
    assert client.insert_df(table, frame).written_rows == 1
    assert client.insert_arrow(table, pa.table({"a": [4], "s": ["w"]})).written_rows == 1
    result = client.query(f"SELECT a, s, n FROM {table} ORDER BY a")
    assert result.result_rows == [(1, "x", None), (2, "y'\t\n", 1.5), (3, "q", 2.0), (4, "w", None)]
    # The summary is a header: as with a server, it tells the progress made when the answer began.
    assert 1 <= int(result.summary["read_rows"]) <= 4
    assert list(client.query_df(f"SELECT a FROM {table} ORDER BY a")["a"]) == [1, 2, 3, 4]
    assert client.query_arrow(f"SELECT s FROM {table} ORDER BY a").to_pydict() == {
        "s": ["x", "y'\t\n", "q", "w"]
    }
    assert client.query(f"SELECT d FROM {table} WHERE a = 1").result_rows[0][0].replace(tzinfo=UTC) == NOW


def test_parameters_settings_and_sessions(client: Client) -> None:
    """Server-side parameters are typed, settings last one query, temporary tables one session."""
    asked = client.query("SELECT {s:String}, {a:Array(UInt8)}", parameters={"s": "y'\t\\", "a": [1, 2]})
    assert asked.result_rows == [("y'\t\\", [1, 2])]
    before = client.query("SELECT getSetting('max_block_size')").result_rows
    changed = client.query(
        "SELECT getSetting('max_block_size')", settings={"max_block_size": 100}
    ).result_rows
    assert changed == [(100,)] != before
    assert client.query("SELECT getSetting('max_block_size')").result_rows == before
    client.command("CREATE TEMPORARY TABLE mine (a UInt8)")
    client.command("INSERT INTO mine VALUES (7)")
    assert client.query("SELECT a FROM mine").result_rows == [(7,)]


def test_the_engines_caches_are_bounded(client: Client) -> None:
    """By default they may take half of the machine's memory, which the broker and the workers need."""
    found = client.query(
        "SELECT sum(toUInt64(value)) FROM system.server_settings WHERE name LIKE '%mark_cache_size'"
    )
    assert 0 < found.result_rows[0][0] <= 512 << 20


def test_a_session_does_not_leak_into_others(client: Client, http: httpx.Client, unique: str) -> None:
    """SET, USE and temporary tables without a session are gone with their request."""
    client.command(f"CREATE DATABASE {unique}")
    for statement in (
        "SET max_block_size = 5",
        f"USE {unique}",
        f"CREATE TEMPORARY TABLE {unique} (a UInt8)",
    ):
        assert http.post("/", content=statement).status_code == 200
    asked = http.post("/", content="SELECT currentDatabase(), getSetting('max_block_size') != 5 FORMAT CSV")
    assert asked.text == '"default",1\n'
    assert http.post("/", content=f"SELECT * FROM {unique}").status_code == 404
    assert (
        http.post("/", params={"database": unique}, content="SELECT currentDatabase()").text == f"{unique}\n"
    )
    assert http.post("/", content="SELECT currentDatabase()").text == "default\n"


@pytest.mark.parametrize("compress", ["zstd", "lz4", "gzip", False])
def test_the_client_compresses_both_ways(port: int, table: str, compress: str | bool) -> None:
    """Each compression that the client knows."""
    client = clickhouse_connect.get_client(host=LOOPBACK, port=port, compress=compress)
    client.insert(table, [[n, "text" * 20] for n in range(2000)], column_names=["a", "s"])
    assert len(client.query(f"SELECT a, s FROM {table}").result_rows) == 2000


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("gzip", gzip.compress),
        ("zstd", zstandard.ZstdCompressor().compress),
        ("lz4", lz4.frame.compress),
        ("", bytes),
    ],
)
def test_json_lines_pass_through(
    http: httpx.Client, client: Client, table: str, name: str, pack: object
) -> None:
    """The sink's way: raw JSONEachRow bytes, unknown fields skipped, times in ISO 8601."""
    rows = b"".join(
        b'{"a":%d,"s":"r","d":"2026-01-01T00:00:00.123Z","more":[1]}\n' % n for n in range(30_000)
    )
    settings = {"date_time_input_format": "best_effort", "input_format_skip_unknown_fields": "1"}
    query = f"INSERT INTO {table} (a, s, d) FORMAT JSONEachRow"
    answer = http.post(
        "/",
        params={"query": query, **settings},
        content=pack(rows),  # type: ignore[operator]
        headers={"Content-Encoding": name} if name else {},
    )
    assert answer.status_code == 200, answer.text
    assert json.loads(answer.headers["X-ClickHouse-Summary"])["written_rows"] == "30000"
    assert count(client, table) == 30_000
    assert client.query(f"SELECT max(d) FROM {table}").result_rows[0][0].microsecond == 123_000


def test_an_insert_token_is_taken_once(http: httpx.Client, client: Client, table: str) -> None:
    """The same token twice is one insert, another token is another."""
    for token in ("p0-17", "p0-17", "p0-18"):
        params = {
            "query": f"INSERT INTO {table} (a, s) FORMAT JSONEachRow",
            "insert_deduplication_token": token,
        }
        assert http.post("/", params=params, content=b'{"a":1,"s":"x"}\n').status_code == 200
    assert count(client, table) == 2


@pytest.mark.parametrize(
    ("head", "data"),
    [
        ("INSERT INTO {t} (a, s) FORMAT CSV\n", '1,"x;y"\n2,q\n'),
        ("INSERT INTO {t} (a, s) VALUES ", "(1, 'x;y'), (2, '\\'')"),
        ("INSERT INTO {t} (a, s) FORMAT TabSeparated\n", "1\tx\n2\ty\n"),
    ],
)
def test_data_may_stand_in_the_body_behind_the_query(
    http: httpx.Client, client: Client, unique: str, head: str, data: str
) -> None:
    """Query and data in one body, or the query in the URL."""
    client.command(f"CREATE TABLE {unique} (a UInt64, s String) ENGINE = Memory")
    assert http.post("/", content=head.format(t=unique) + data).status_code == 200
    assert http.post("/", params={"query": head.format(t=unique)}, content=data).status_code == 200
    assert count(client, unique) == 4


def test_a_sender_that_breaks_off_inserts_nothing(port: int, client: Client, table: str) -> None:
    """Rows of a body that never ended are not kept: nobody acknowledged them, and they will be sent again."""
    query = f"INSERT%20INTO%20{table}%20(a,s)%20FORMAT%20JSONEachRow"
    head = f"POST /?query={query} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
    with socket.create_connection((LOOPBACK, port)) as sender:
        sender.sendall(head.encode() + b'{"a":1,"s":"x"}\n' * 100)
    with socket.create_connection((LOOPBACK, port)) as sender:
        sender.sendall(head.replace("Content-Length: 100000", "Transfer-Encoding: chunked").encode())
        sender.sendall(b'10\r\n{"a":1,"s":"x"}\n\r\n')
    assert client.query("SELECT 1").result_rows == [(1,)]
    assert count(client, table) == 0
    client.insert(table, [[1, "x"]], column_names=["a", "s"])
    assert count(client, table) == 1


def test_a_bad_row_inserts_nothing(http: httpx.Client, client: Client, table: str) -> None:
    """An insert is whole or not at all, and the connection is good for the next."""
    good = b'{"a":1,"s":"x"}\n'
    answer = http.post(
        "/", params={"query": f"INSERT INTO {table} FORMAT JSONEachRow"}, content=good + b'{"a":"no"}\n'
    )
    assert answer.status_code == 400
    assert answer.text.startswith("Code: ")
    assert count(client, table) == 0
    assert (
        http.post("/", params={"query": f"INSERT INTO {table} FORMAT JSONEachRow"}, content=good).status_code
        == 200
    )
    assert count(client, table) == 1


@pytest.mark.parametrize(
    ("sql", "code", "status"),
    [
        ("SELECT nope", 47, 404),
        ("SELECT * FROM nope", 60, 404),
        ("SELEC 1", 62, 400),
        ("SELECT 1; SELECT 2", 62, 400),
        ("SELECT throwIf(1)", 395, 500),
        ("SELECT 1 INTO OUTFILE '/tmp/x'", 358, 500),
        ("SELECT 1 FORMAT Nope", 73, 404),
    ],
)
def test_errors_look_like_clickhouses(http: httpx.Client, sql: str, code: int, status: int) -> None:
    """Code in the header, text in the body, the status that ClickHouse uses."""
    answer = http.post("/", content=sql)
    assert (answer.headers["X-ClickHouse-Exception-Code"], answer.status_code) == (str(code), status), (
        answer.text
    )
    assert answer.text.startswith(f"Code: {code}. DB::Exception: ")
    assert "(version " in answer.text


def test_an_error_in_the_middle_of_a_result_breaks_it_off(http: httpx.Client) -> None:
    """No client can take half a result for a whole one."""
    with pytest.raises(httpx.RemoteProtocolError):
        http.post("/", content="SELECT throwIf(number = 20000000) FROM numbers(30000000)")
    assert http.post("/", content="SELECT 1").text == "1\n"


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_native_is_framed_as_grafanas_client_reads_it(http: httpx.Client, encoding: str) -> None:
    """The greeting, rows of several blocks, an empty result and errors, as clickhouse-go asks for them."""

    def ask(sql: str) -> httpx.Response:
        asked = {"database": "default", "default_format": "Native", "client_protocol_version": "54460"}
        return http.post(
            "/", params=asked, content=sql, headers={"Accept-Encoding": encoding}, auth=("analyst", "")
        )

    hello = ask("SELECT displayName(), version(), revision(), timezone()")
    assert hello.headers["X-ClickHouse-Format"] == "Native"
    assert hello.headers.get("Content-Encoding", "identity") == encoding
    greeting = read_native(hello.content, 54460)
    assert greeting["revision()"][0] > 54460
    assert greeting["timezone()"] == ["UTC"]
    assert ask("SELECT 1").content == BLOCK_INFO + b"\x01\x01\x011\x05UInt8\x00\x01"
    rows = ask(
        "SELECT number AS n, toString(n) AS s, map('a', n) AS m, [n, 1] AS a, tuple(n, 'x') AS t, "
        "toLowCardinality(s) AS l, if(n % 2, NULL, 1.5) AS f, toDateTime64(n, 3) AS d FROM numbers(100000)"
    )
    columns = read_native(rows.content, 54460)
    assert list(columns["n"]) == list(range(100_000))
    assert list(columns["s"]) == list(columns["l"]) == [str(n) for n in range(100_000)]
    assert [columns[name][-1] for name in "matf"] == [{"a": 99_999}, [99_999, 1], (99_999, "x"), None]
    assert read_native(ask("SELECT 1 WHERE 0").content, 54460) == {}
    for sql, code in (
        ("SELECT nothing FROM nowhere", "60"),
        ("CREATE TABLE x (a UInt8) ENGINE = Memory", "164"),
        ("SELECT '{}'::JSON", "48"),
    ):
        refused = ask(sql)
        assert refused.headers["X-ClickHouse-Exception-Code"] == code
        assert "Content-Encoding" not in refused.headers
        assert refused.text.startswith(f"Code: {code}. DB::Exception: ")


def test_the_ordinary_client_reads_framed_blocks(client: Client) -> None:
    """clickhouse-connect finds that the server frames blocks, and reads every type so."""
    assert client.protocol_version == 54405
    asked = client.query("SELECT '{\"a\": 1}'::JSON, 1::Dynamic, toLowCardinality('x') FROM numbers(2)")
    assert asked.result_rows == [({"a": 1}, 1, "x")] * 2


def test_an_error_behind_rows_can_be_told_from_them(http: httpx.Client, client: Client) -> None:
    """It stands between marks with the response's own tag, and clients raise it as what it is."""
    sql = "SELECT number, throwIf(number = 3000000) FROM numbers(4000000)"
    received = b""
    with http.stream(
        "POST", "/", content=f"{sql} FORMAT RowBinary", headers={"Accept-Encoding": ""}
    ) as answer:
        tag = answer.headers["X-ClickHouse-Exception-Tag"].encode()
        with suppress(httpx.RemoteProtocolError):  # the body breaks off
            for part in answer.iter_raw():
                received = received[-4096:] + part
    head, _, told = received.partition(b"\r\n__exception__\r\n" + tag + b"\r\n")
    assert head
    assert told.startswith(b"Code: 395. DB::Exception: ")
    assert told.endswith(b" " + tag + b"\r\n__exception__\r\n")
    result = client.query(sql)
    with pytest.raises(ClickHouseError, match="395"):
        len(result.result_rows)  # read as they are asked for


def test_get_only_reads(http: httpx.Client, table: str) -> None:
    """A link cannot change data."""
    assert http.get("/", params={"query": "SELECT 1"}).text == "1\n"
    answer = http.get("/", params={"query": f"DROP TABLE {table}"})
    assert answer.headers["X-ClickHouse-Exception-Code"] == "164"
    assert http.get("/ping").text == http.get("/").text == http.get("/replicas_status").text == "Ok.\n"


def test_pages_of_other_sites_are_refused(http: httpx.Client) -> None:
    """A browser's foreign page cannot reach the database, nor can a foreign host name for loopback."""
    assert http.post("/", content="SELECT 1", headers={"Origin": "https://evil.example"}).status_code == 403
    assert http.post("/", content="SELECT 1", headers={"Host": "evil.example"}).status_code == 403


def test_formats_headers_and_ids(http: httpx.Client) -> None:
    """What Grafana and scripts rely on."""
    answer = http.post(
        "/", params={"default_format": "JSONCompact", "query_id": "abc"}, content="SELECT 1 AS x"
    )
    assert answer.json()["data"] == [[1]]
    assert answer.headers["X-ClickHouse-Query-Id"] == "abc"
    assert answer.headers["X-ClickHouse-Format"] == "JSONCompact"
    assert answer.headers["Content-Type"].startswith("application/json")
    assert http.post("/", content="SELECT 1, 'a'", headers={"X-ClickHouse-Format": "CSV"}).text == '1,"a"\n'
    assert http.post("/", content="SELECT number FROM numbers(200000) FORMAT JSON").json()["rows"] == 200_000
    packed = http.post(
        "/", params={"enable_http_compression": "1"}, content="SELECT 7", headers={"Accept-Encoding": "gzip"}
    )
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.text == "7\n"


def test_a_reader_reads_and_nothing_else(port: int, client: Client, table: str) -> None:
    """The analyst's queries and settings work; writes, files, other machines and wider rights do not."""
    client.insert(table, [[1, "x"]], column_names=["a", "s"])
    analyst = clickhouse_connect.get_client(host=LOOPBACK, port=port, username="analyst", password="")
    assert analyst.query(f"SELECT count() FROM {table} SETTINGS max_threads = 1").result_rows == [(1,)]
    assert analyst.query("SELECT getSetting('max_threads')", settings={"max_threads": 1}).result_rows == [
        (1,)
    ]
    forbidden = [
        f"INSERT INTO {table} (a) VALUES (2)",
        f"INSERT INTO {table} (a) SELECT 2",
        f"DROP TABLE {table}",
        "CREATE TABLE other (a UInt8) ENGINE = Memory",
        "SELECT * FROM file('/etc/passwd', 'CSV', 'a String')",
        "SELECT `file`('/etc/hostname')",
        "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')",
        "SELECT 1 SETTINGS readonly = 0",
        "SET readonly = 0",
        "SYSTEM SHUTDOWN",
    ]
    for sql in forbidden:
        with pytest.raises(ClickHouseError, match="164"):
            analyst.command(sql)
    assert count(client, table) == 1


def test_unknown_users_and_wrong_passwords_are_refused(port: int) -> None:
    """Code 516, status 403 (a user without a password takes any, as in ClickHouse)."""
    with pytest.raises(ClickHouseError, match="516"):
        clickhouse_connect.get_client(host=LOOPBACK, port=port, username="nobody", password="wrong")


def test_inserts_and_queries_run_side_by_side(port: int, client: Client, table: str) -> None:
    """Threads insert and read at once; every acknowledged row is there."""

    def insert(worker: int) -> None:
        with httpx.Client(base_url=f"http://{LOOPBACK}:{port}", timeout=60) as own:
            for turn in range(10):
                rows = b"".join(
                    b'{"a":%d,"s":"%d"}\n' % (worker * 10**6 + turn * 1000 + n, worker) for n in range(500)
                )
                done = own.post(
                    "/", params={"query": f"INSERT INTO {table} (a, s) FORMAT JSONEachRow"}, content=rows
                )
                assert done.status_code == 200, done.text
                assert own.post("/", content=f"SELECT count() FROM {table}").status_code == 200

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(insert, range(6)))
    assert count(client, table) == 6 * 10 * 500


def test_curl_is_enough(port: int) -> None:
    """The commands of ClickHouse's own manual."""
    url = f"http://{LOOPBACK}:{port}/"

    def curl(*args: str, data: str | None = None) -> str:
        return subprocess.run(
            ["curl", "-s", *args], input=data, capture_output=True, text=True, check=True, timeout=30
        ).stdout

    assert curl(f"{url}?query=SELECT%201") == "1\n"
    parts = ("--data-urlencode", "param_x=a b", "--data-urlencode", "query=SELECT {x:String}")
    assert curl("-G", url, *parts) == "a b\n"
    assert curl(f"{url}?param_x=5", "--data-binary", "@-", data="SELECT {x:UInt8} + 1") == "6\n"
    assert curl("-u", "analyst:", f"{url}?query=SELECT%20currentDatabase()") == "default\n"
    headers = ("-H", "X-ClickHouse-User: default", "-H", "X-ClickHouse-Format: JSONEachRow")
    assert curl(*headers, url, "-d", "SELECT 1 AS x") == '{"x":1}\n'


def test_kill_loses_no_acknowledged_insert_and_sigterm_ends_it(tmp_path: Path, unique: str) -> None:
    """After kill -9 every acknowledged row is there; SIGTERM then ends the process cleanly."""
    lease = lease_port()
    supervisor = Supervisor()
    spec: ProcessSpec = warehouse_spec(tmp_path / "data", lease.port, tmp_path / "log")
    supervisor.start(spec)
    supervisor.wait_ready("clickhouse")
    acknowledged = 0
    with httpx.Client(base_url=f"http://{LOOPBACK}:{lease.port}", timeout=30) as plain:
        made = plain.post("/", content=f"CREATE TABLE {unique} (a UInt64) ENGINE = MergeTree ORDER BY a")
        assert made.status_code == 200, made.text
        for n in range(50):
            row = plain.post(
                "/", params={"query": f"INSERT INTO {unique} FORMAT JSONEachRow"}, content=b'{"a":%d}' % n
            )
            acknowledged += row.status_code == 200
    supervisor.kill("clickhouse", signal.SIGKILL)
    eventually(lambda: supervisor.states()[0].restarts == 1 and supervisor.states()[0].state == "running", 30)
    again = httpx.post(
        f"http://{LOOPBACK}:{lease.port}/", content=f"SELECT count() FROM {unique}", timeout=30
    )
    assert again.text == f"{acknowledged}\n" == "50\n"
    supervisor.stop_all()
    assert "warehouse.stopped" in (tmp_path / "log").read_text()
    lease.release()


def test_a_users_file_is_used(tmp_path: Path) -> None:
    """A password in the file is asked for, by every way of giving one."""
    lease = lease_port()
    (tmp_path / "users.json").write_text(json.dumps({"default": {"password": "pw"}}))
    argv = [
        sys.executable,
        "-m",
        "infra.local.warehouse",
        "--path",
        str(tmp_path / "store"),
        "--port",
        str(lease.port),
    ]
    process = subprocess.Popen([*argv, "--users", str(tmp_path / "users.json")], stderr=subprocess.DEVNULL)
    try:
        url = f"http://{LOOPBACK}:{lease.port}"
        eventually(lambda: _pings(url), 30)
        assert httpx.post(url, content="SELECT 1").status_code == 403
        assert httpx.post(url, content="SELECT 1", auth=("default", "pw")).text == "1\n"
        assert httpx.post(url, content="SELECT 1", params={"user": "default", "password": "pw"}).text == "1\n"
        keys = {"X-ClickHouse-User": "default", "X-ClickHouse-Key": "pw"}
        assert httpx.post(url, content="SELECT 1", headers=keys).text == "1\n"
    finally:
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == 0
        lease.release()


def _pings(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ping").status_code == 200
    except httpx.ConnectError:
        return False
