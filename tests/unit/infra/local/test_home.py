"""The data folder: stale records are recognised, the record is whole, secrets of the environment stay out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.errors import AlreadyRunningError, NotRunningError
from infra.local.home import (
    Home,
    HomeLock,
    end_leftovers,
    endpoints_of,
    is_alive,
    read_record,
    running_record,
    started_at,
    without_password,
    write_json,
)


def test_a_pid_alone_does_not_make_a_process_alive() -> None:
    """The same pid with another start time is another process, as after a reboot."""
    pid = os.getpid()
    assert is_alive(pid, started_at(pid))
    assert not is_alive(pid, started_at(pid) - 60.0)
    assert not is_alive(2**22 + 1, 0.0)


def test_a_record_of_a_dead_supervisor_is_stale(tmp_path: Path) -> None:
    """A record left behind by a kill counts as nothing running."""
    home = Home(tmp_path)
    with pytest.raises(NotRunningError):
        running_record(home)
    write_json(home.record, {"supervisor_pid": os.getpid(), "supervisor_started": 1.0})
    with pytest.raises(NotRunningError, match="headrace up"):
        running_record(home)
    write_json(home.record, {"supervisor_pid": os.getpid(), "supervisor_started": started_at(os.getpid())})
    assert running_record(home) == read_record(home)
    assert list(tmp_path.iterdir()) == [home.record]


def test_leftover_processes_of_a_dead_supervisor_are_ended() -> None:
    """A recorded process that outlived its supervisor is ended, a foreign one of its pid is not."""
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    entry = {"name": "kafka", "pid": child.pid, "pid_started": started_at(child.pid)}
    other = {"name": "redis", "pid": os.getpid(), "pid_started": 1.0}
    assert end_leftovers({"processes": [entry, other]}, patience_s=0.1) == ["kafka"]
    child.wait(5)


def test_a_second_lock_on_a_home_says_so(tmp_path: Path) -> None:
    """Only one supervisor may hold a folder; after its release the next may."""
    lock = HomeLock(Home(tmp_path))
    with pytest.raises(AlreadyRunningError, match="headrace down"):
        HomeLock(Home(tmp_path))
    lock.release()
    HomeLock(Home(tmp_path)).release()


def test_passwords_are_left_out_of_urls() -> None:
    """A URL keeps everything but its password."""
    assert without_password("redis://u:secret@h:6379/0") == "redis://u@h:6379/0"
    assert without_password("http://default:@127.0.0.1:8123") == "http://default:@127.0.0.1:8123"


def test_addresses_of_the_environment_come_with_their_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The record has no password of the environment's, the endpoints read beside it do."""
    monkeypatch.setenv("HEADRACE_CLICKHOUSE", "http://u:pw@h:8123")
    record = json.loads(json.dumps({"kafka": "k:1", "redis": "redis://r", "clickhouse": "http://u@h:8123"}))
    assert endpoints_of(record).clickhouse == "http://u:pw@h:8123"
    assert endpoints_of(record).kafka == "k:1"
