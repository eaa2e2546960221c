"""The Alertmanager channel against a real Alertmanager."""

import asyncio
import socket
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from infra.runtime.clock import SystemClock
from schemas.drift import Severity
from streams.alerts.alertmanager import Alertmanager, posted
from streams.alerts.persistence import Outcome
from tests.unit.streams.alerts.alert import NOW, alert
from tests.waiting import eventually

CONFIG = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running Alertmanager's address."""
    folder: Path = tmp_path_factory.mktemp("alertmanager")
    (folder / "config.yml").write_text(CONFIG)
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus-alertmanager",
                f"--config.file={folder / 'config.yml'}",
                f"--storage.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        eventually(lambda: _ready(url), timeout_s=20)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready").is_success
    except httpx.TransportError:
        return False


def _standing(url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = httpx.get(f"{url}/api/v2/alerts").json()
    return found


def _manager(url: str, repeat_s: float = 60.0) -> Alertmanager:
    return Alertmanager(SecretStr(url), 2.0, repeat_s, SystemClock())


async def test_an_alert_stands_until_it_is_over(server: str) -> None:
    """It is there with labels to route by and what on-call reads; its end resolves it."""
    manager = _manager(server)
    now = datetime.now(UTC)
    raised = alert("a1", stream="first", since=now, raised_at=now)
    assert await manager.tell(raised, give_up_after_s=5.0) is Outcome.TAKEN
    (found,) = _standing(server)
    assert found["labels"] == {
        "alertname": "HeadraceDrift",
        "stream": "first",
        "model": "requests",
        "signal": "error",
        "severity": "critical",
    }
    assert found["annotations"]["runbook_url"].endswith("drift-error.md")
    assert found["annotations"]["alert_id"] == "a1"
    over = alert(
        "a1-recovered",
        stream="first",
        severity=Severity.WARNING,
        recovered=True,
        evidence={"alert": "a1"},
        raised_at=datetime.now(UTC),
    )
    assert await manager.tell(over, give_up_after_s=5.0) is Outcome.TAKEN
    await asyncio.to_thread(eventually, lambda: not _standing(server))
    await manager.close()


async def test_a_graver_alert_takes_the_place_of_the_first(server: str) -> None:
    """One subject has one alert: the warning ends when it becomes critical."""
    manager = _manager(server)
    now = datetime.now(UTC)
    warning = alert("w", stream="second", severity=Severity.WARNING, since=now, raised_at=now)
    critical = alert("c", stream="second", since=now, raised_at=datetime.now(UTC))
    for one in (warning, critical):
        assert await manager.tell(one, give_up_after_s=5.0) is Outcome.TAKEN
    await asyncio.to_thread(eventually, lambda: len(_standing(server)) == 1)
    assert _standing(server)[0]["annotations"]["alert_id"] == "c"
    await manager.close()


async def test_what_is_not_repeated_ends_and_what_was_told_before_a_restart_is(server: str) -> None:
    """An alert whose sender died resolves by itself; a sender that came back keeps it standing."""
    manager = _manager(server, repeat_s=0.2)
    now = datetime.now(UTC)
    raised = alert("r", stream="third", since=now, raised_at=now)
    await manager.tell(raised, give_up_after_s=5.0)
    await manager.close()

    def stands() -> bool:
        return "third" in {one["labels"]["stream"] for one in _standing(server)}

    await asyncio.to_thread(eventually, lambda: not stands())
    again = _manager(server)
    again.remember(raised)
    await again.repeat()
    await asyncio.to_thread(eventually, stands)
    await again.close()


async def test_nobody_there_is_tried_again_and_given_up(capsys: pytest.CaptureFixture[str]) -> None:
    """An Alertmanager that is away ends in EXPIRED; its address, which may hold a password, is not logged."""
    manager = _manager("http://user:hunter2@127.0.0.1:1")
    assert await manager.tell(alert(), give_up_after_s=0.0) is Outcome.EXPIRED
    await manager.repeat()
    await manager.close()
    printed = capsys.readouterr()
    assert "hunter2" not in printed.out + printed.err


def test_a_test_alert_says_so() -> None:
    """By a label, so that routes can leave it out, and without empty labels."""
    labels = posted(alert(model="", evidence={"test": True}), NOW)["labels"]
    assert labels["test"] == "true"
    assert "model" not in labels
