"""Logs: one JSON object a line, on stderr, with secrets blanked."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from infra.runtime import log


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leave the process's logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(captured: str) -> list[dict[str, object]]:
    """Return the JSON objects of captured log output."""
    return [json.loads(line) for line in captured.splitlines()]


def test_an_event_is_one_json_line_with_its_worker(capsys: pytest.CaptureFixture[str]) -> None:
    """Machines read logs: time in UTC, level, logger, worker and the event's fields."""
    log.configure("serving", json=True)
    log.get_logger("serving.slot").info("model.swapped", version=4)
    captured = capsys.readouterr()
    (line,) = lines(captured.err)
    assert captured.out == ""
    assert str(line.pop("timestamp")).endswith("Z")
    assert line == {
        "event": "model.swapped",
        "version": 4,
        "level": "info",
        "logger": "serving.slot",
        "worker": "serving",
    }


@pytest.mark.parametrize("field", ["password", "api_key", "Authorization", "webhook_token", "client_secret"])
def test_secrets_are_blanked(field: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A field whose name says that it is secret is never written."""
    log.configure("gateway", json=True)
    log.get_logger("test").warning("request.refused", **{field: "hunter2"})
    captured = capsys.readouterr().err
    assert "hunter2" not in captured
    assert lines(captured)[0][field] == "***"


def test_libraries_log_in_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    """What goes through the standard library's logging comes out as the same JSON."""
    log.configure("sink", json=True)
    logging.getLogger("some.library").warning("disk is %s", "full")
    (line,) = lines(capsys.readouterr().err)
    assert (line["event"], line["level"], line["worker"]) == ("disk is full", "warning", "sink")


def test_chatty_libraries_are_held_to_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    """A Kafka client's every heartbeat is not news."""
    log.configure("streams", json=True)
    logging.getLogger("aiokafka.consumer").info("heartbeat")
    logging.getLogger("aiokafka.consumer").error("broker gone")
    assert [line["event"] for line in lines(capsys.readouterr().err)] == ["broker gone"]


def test_an_exception_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    """An error's cause is in the same line as the error."""
    log.configure("trainer", json=True)
    try:
        raise ValueError("no rows")
    except ValueError:
        log.get_logger("test").exception("training.failed")
    (line,) = lines(capsys.readouterr().err)
    assert "ValueError: no rows" in str(line["exception"])


def test_the_level_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """HEADRACE_LOG_LEVEL turns debugging on without touching code."""
    monkeypatch.setenv("HEADRACE_LOG_LEVEL", "debug")
    log.configure("drift", json=True)
    log.get_logger("test").debug("window.closed")
    assert lines(capsys.readouterr().err)[0]["event"] == "window.closed"
