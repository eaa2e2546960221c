"""Which engine cleans in a data folder, and what its supervisor does about it."""

import sys
from pathlib import Path

import pytest

from infra.cli.worker import Worker
from infra.local import cleaning
from infra.local.cleaning import Engine
from infra.local.process import ProcessSpec
from infra.local.stack import Stack, StackSettings

SERVICES = StackSettings(kafka="127.0.0.1:1", redis="redis://127.0.0.1:1", clickhouse="http://127.0.0.1:1")


def test_faust_cleans_until_another_is_chosen(tmp_path: Path):
    """The choice stays, and leaves one worker out."""
    assert cleaning.engine_of(tmp_path) is Engine.FAUST
    assert cleaning.workers_of(tmp_path) == list(Worker)
    cleaning.choose(tmp_path, Engine.FLINK)
    assert cleaning.engine_of(tmp_path) is Engine.FLINK
    assert set(Worker) - set(cleaning.workers_of(tmp_path)) == {Worker.STREAMS}


def test_a_running_stack_follows_the_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The worker goes and comes; asked again with the same choice, nothing changes."""

    def idle(home: Path, workers: list[Worker]) -> list[ProcessSpec]:
        argv = [sys.executable, "-c", "import signal; signal.pause()"]
        return [ProcessSpec(name=worker.value, argv=argv, log_path=home / "log") for worker in workers]

    monkeypatch.setattr(cleaning, "worker_specs", idle)
    with Stack(tmp_path, idle(tmp_path, [Worker.STREAMS, Worker.SINK]), SERVICES) as stack:

        def seen() -> dict[str, tuple[str, int | None]]:
            return {process.name: (process.state, process.pid) for process in stack.processes()}

        before = seen()
        cleaning.follow(stack, tmp_path)
        assert seen() == before
        cleaning.choose(tmp_path, Engine.FLINK)
        for _ in range(2):
            cleaning.follow(stack, tmp_path)
            assert seen() == {**before, "streams": ("stopped", None)}
        cleaning.choose(tmp_path, Engine.FAUST)
        cleaning.follow(stack, tmp_path)
        after = seen()
        assert after["streams"][0] == "running" and after["streams"][1] != before["streams"][1]
        cleaning.follow(stack, tmp_path)
        assert seen() == after
