"""Settings that change while the gateway runs: what is taken over, and what a wrong file does."""

import logging
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from infra.bench.gateway.inside import STREAMS, Memory, ask, gateway_over
from schemas import codec
from schemas.audit import Audit
from serving.gateway import keys
from serving.gateway.app import application
from serving.gateway.core import Gateway
from serving.gateway.reload import Reloader
from serving.gateway.scopes import Scope

NOW = datetime(2026, 3, 14, 9, 0, tzinfo=UTC)


@pytest.fixture
def memory() -> Memory:
    """Where the audit goes."""
    return Memory()


@pytest.fixture
async def gateway(memory: Memory, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway with the built-in settings."""
    async with gateway_over(memory, tmp_path) as made:
        yield made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file that it was started with."""
    path = tmp_path / "headrace.toml"
    path.write_text(STREAMS)
    return path


@pytest.fixture
def reloader(gateway: Gateway, file: Path, tmp_path: Path) -> Reloader:
    """What watches them."""
    return Reloader(file, gateway.settings.config, tmp_path, gateway.shield, lambda: None)


def rewrite(path: Path, text: str) -> None:
    """Change a file as an editor does; its time differs, however coarse the clock of the file system is."""
    path.write_text(text)
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000))


def valid(file: str) -> float | None:
    """Return the metric."""
    return REGISTRY.get_sample_value("headrace_settings_valid", {"file": file})


async def test_limits_change_at_once(gateway: Gateway, file: Path, reloader: Reloader, memory: Memory):
    """What is hot holds for the next request; what needs a restart is named and not taken over."""
    rewrite(file, f"{STREAMS}\n[gateway.limits]\nmax_events = 5")
    with capture_logs() as logs:
        reloader.poll()
        reloader.poll()
    assert gateway.limits.max_events == 5
    (entry,) = [one for one in logs if one["event"] == "config.reloaded"]
    assert entry["taken_over"] == ("gateway.limits.max_events",)
    text = f'database = "other"\n{STREAMS}\n[gateway]\nauth = "required"\nlog_level = "debug"\n'
    rewrite(file, text)
    with capture_logs() as logs:
        reloader.poll()
    assert gateway.limits.max_events == 20_000
    assert logs[-1]["needs_restart"] == ("database", "gateway.auth")
    assert not gateway.shield.access.asks
    assert logging.getLogger().level == logging.DEBUG
    await gateway.shield.trail.flush()
    audits = [codec.decode(record.value, Audit) for record in memory.records]
    assert [one.action for one in audits] == ["config.reloaded", "config.reloaded"]


@pytest.mark.parametrize(
    "wrong",
    [
        "[gateway",
        "[gateway.limits]\nmax_events = 0",
        "[gateway.limits]\nmax_evnts = 5",
        "\x00",
        f"x = {'[' * 5000}",
        "[gateway]\nhost = 5",
    ],
)
async def test_a_wrong_file_changes_nothing(wrong: str, gateway: Gateway, file: Path, reloader: Reloader):
    """The old settings hold, log and metric say so, and a right file is taken again."""
    rewrite(file, f"{STREAMS}\n[gateway.limits]\nmax_events = 7")
    reloader.poll()
    rewrite(file, f"{STREAMS}\n{wrong}")
    with capture_logs() as logs:
        reloader.poll()
    assert [entry["event"] for entry in logs] == ["config.refused"]
    assert valid("headrace.toml") == 0
    assert gateway.limits.max_events == 7
    rewrite(file, f"{STREAMS}\n[gateway.limits]\nmax_events = 8")
    reloader.poll()
    assert (valid("headrace.toml"), gateway.limits.max_events) == (1, 8)


async def test_a_file_that_only_looks_new_is_not_read_again(file: Path, reloader: Reloader):
    """The same contents under another time are no change, and neither is a file that is away."""
    rewrite(file, STREAMS)
    with capture_logs() as logs:
        reloader.poll()
        file.unlink()
        reloader.poll()
    assert logs == []


async def test_the_first_key_closes_the_door_and_a_revoked_one_opens_it_no_more(
    gateway: Gateway, reloader: Reloader, tmp_path: Path, memory: Memory
):
    """Keys are taken over without a restart; who made and revoked them is in the audit."""
    app = application(gateway)
    assert (await ask(app, "GET", "/metrics")).status == 200
    id, secret = keys.fresh()
    key = keys.Key(id=id, name="a", sha256="", scopes=(Scope.READ,), created_at=NOW, created_by="maria")
    header = (b"x-api-key", keys.create(tmp_path, key, secret).encode())
    reloader.poll()
    assert [(await ask(app, "GET", "/metrics", given)).status for given in ([], [header])] == [401, 200]
    keys.revoke(tmp_path, id, "otto", NOW)
    reloader.poll()
    assert [(await ask(app, "GET", "/metrics", given)).status for given in ([], [header])] == [401, 401]
    await gateway.shield.trail.flush()
    audits = [codec.decode(record.value, Audit) for record in memory.records]
    told = [one.detail for one in audits if one.action == "keys.changed"]
    assert told == [f"key/{id} created by maria", f"key/{id} revoked by otto"]


async def test_a_damaged_file_of_keys_leaves_the_old_keys(
    gateway: Gateway, reloader: Reloader, tmp_path: Path
):
    """Whoever had a key keeps it; the metric tells of the damage."""
    id, secret = keys.fresh()
    key = keys.Key(id=id, name="a", sha256="", scopes=(Scope.READ,), created_at=NOW, created_by="maria")
    keys.create(tmp_path, key, secret)
    reloader.poll()
    (tmp_path / keys.FILE).write_text("[")
    reloader.poll()
    assert id in gateway.shield.access.ring.keys
    assert valid(keys.FILE) == 0
