"""The load generator counts what it saw, and the figures compare what was measured."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.bench.closed_loop import complete, drive, request
from infra.bench.serve import figures
from infra.bench.serve.measure import Sample
from infra.bench.serve.models import repeated
from infra.bench.serve.plan import Scenario, ServePlan
from infra.bench.serve.systems import HEADRACE, NAMES, PEERS, SESSION, SYSTEMS
from infra.local.errors import StackError


class Echo(BaseHTTPRequestHandler):
    """Answers with the request's body; `/refuse` with 503, `/close` with no answer at all."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/close":
            self.close_connection = True
            return
        self.send_response(503 if self.path == "/refuse" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """A server on a port of its own."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_every_answer_has_its_latency_and_the_kept_ones_their_row(port: int) -> None:
    """Rows are asked in order from the start on, around and around; each answer belongs to its row.

    Several connections answer in any order, one in the order in which it was asked.
    """
    requests = [request("/", f'"row {number}"'.encode()) for number in range(10)]
    for connections in (1, 3):
        load = drive(port, requests, 7, connections, 0.3)
        assert load.failed == 0 and 0 < len(load.ms) <= load.sent <= len(load.ms) + connections
        assert all(took_ms > 0 for took_ms in load.ms)
        assert all(body == f'"row {row}"'.encode() for row, body in load.kept)
        rows = [row for row, _ in load.kept]
        if connections == 1:
            assert rows == [(7 + number) % 10 for number in range(len(rows))]


def test_refusals_are_failures_and_nothing_else_is_an_error(port: int) -> None:
    """A server that answers only refusals has no figures, and the reason names the answer."""
    with pytest.raises(StackError, match="503 Service Unavailable"):
        drive(port, [request("/refuse", b"{}")], 0, 2, 0.1)
    half = drive(port, [request("/", b"{}"), request("/refuse", b"{}")], 0, 1, 0.2)
    assert half.failed > 0 and abs(half.failed - len(half.ms)) <= 1


def test_a_closed_connection_is_said(port: int) -> None:
    """A server that closes instead of answering is not measured."""
    with pytest.raises(StackError, match="closed a connection"):
        drive(port, [request("/close", b"{}")], 0, 1, 0.1)


@given(st.binary(max_size=40), st.data())
def test_an_answer_is_complete_only_when_all_of_it_came(body: bytes, data: st.DataObject) -> None:
    """Whatever the body, with a length or in chunks: no proper beginning passes for the answer."""
    sized = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    assert sized[complete(sized) :] == body
    cut = data.draw(st.integers(0, len(sized) - 1))
    assert complete(sized[:cut]) == 0
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    chunked = head + b"5\r\nhello\r\n0\r\n\r\n"
    assert complete(chunked) == len(head) and complete(chunked[:-1]) == 0


def samples(rate: int, ms: float, *, levels: int = 2) -> list[Sample]:
    """One round: the same rate and latency at each concurrency."""
    return [Sample([ms] * rate, 1.0, 0.5, failed=1, compared=10, differing=2) for _ in range(levels)]


def test_figures_are_medians_with_their_rounds_ratios_and_shares() -> None:
    """The median round stands for a system; the session is no peer, and every server has a share of it."""
    levels = (1, 16)
    systems = {
        HEADRACE: figures.system([samples(100, 2.0), samples(300, 4.0), samples(200, 3.0)], levels, 16),
        "fastapi": figures.system([samples(50, 5.0)], levels, 16),
        SESSION: figures.system([samples(250, 1.0)], levels, 16),
    }
    ours = systems[HEADRACE]
    assert (ours["requests_per_s"], ours["p50_ms"], ours["p99_ms"]) == (200.0, 3.0, 3.0)
    at = ours["by_concurrency"]["1"]
    assert at["rounds"] == [100.0, 300.0, 200.0] and at["spread"] == 1.0
    assert (at["failed"], at["compared"], at["differing"]) == (3, 30, 6)
    assert at["cpu_ms_per_request"] == 2.5
    compared = figures.ratios(systems, 16)
    assert compared["ratios"] == {"fastapi": 4.0}
    assert compared["session_share"]["1"] == {HEADRACE: 0.8, "fastapi": 0.2}
    assert compared["session_share_of_cpu"]["1"] == {HEADRACE: 0.8, "fastapi": 0.2}
    titled = {name: {"title": name, **one} for name, one in systems.items()}
    rows = figures.table({"concurrency": levels, "systems": titled, **compared}).splitlines()
    assert [row.split("|")[2].strip() for row in rows[2:5]] == [SESSION, HEADRACE, "fastapi"]
    assert "| 100 / 300 / 200 |" in rows[3] and "| 4.00 × | 20% |" in rows[4]


def test_repeated_texts_follow_zipf() -> None:
    """The commonest text comes about twice as often as the second, and a seed gives the same texts again."""
    drawn = repeated(["a", "b", "a", "c"], 11_000, 7)
    assert drawn == repeated(["a", "b", "c"], 11_000, 7)
    assert [drawn.count(text) for text in "abc"] == pytest.approx([6000, 3000, 2000], rel=0.1)


def test_no_ratio_without_headrace() -> None:
    """A run of peers alone says nothing about Headrace."""
    peer = {"mosec": figures.system([samples(9, 1.0)], (1, 16), 16)}
    assert not any(figures.ratios(peer, 16).values())


def test_every_peer_is_locked_and_every_round_has_another_order() -> None:
    """A peer has a lock that pins all it needs, with the one ONNX Runtime of all."""
    runtimes = set()
    for name in SYSTEMS.keys() - {HEADRACE}:
        lines = (PEERS / f"{name}.lock").read_text(encoding="utf-8").splitlines()
        assert all("==" in line for line in lines)
        runtimes |= {line for line in lines if line.startswith(("onnxruntime==", "tokenizers==", "numpy=="))}
    assert len(runtimes) == 3
    plan = ServePlan(Path(), Scenario.MINILM, NAMES)
    assert plan.headline == 16
    assert len({tuple(plan.order(number)) for number in range(3)}) == 3
    assert all(sorted(plan.order(number)) == sorted(NAMES) for number in range(3))
