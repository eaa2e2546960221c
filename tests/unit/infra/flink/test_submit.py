"""The client's command and what it says: arguments in their places, one line of why."""

from pathlib import Path

import pytest

from infra.flink.errors import FlinkError
from infra.flink.jobs import MODULES, PROBE, Run, Runs, module_of
from infra.flink.layout import Layout
from infra.flink.submit import Submission, client_argv, told

LAYOUT = Layout(Path("/opt/pyflink"), Path("/srv/client"))
ADDRESS = "http://127.0.0.1:8085"


def test_the_client_is_told_where_what_and_from_which_savepoint() -> None:
    """Flink's own options come before the module, the job's after it."""
    job = Submission("streams.jobs.clean", 2, ["--prefix", "p-"], "file:/s/savepoint-1", "/usr/bin/python3")
    argv = client_argv(LAYOUT, ADDRESS, Path("/srv/code"), Path("/srv/b.jar"), job)
    assert argv[:2] == ["bash", "/opt/pyflink/bin/flink"]
    own, job_own = argv[2 : argv.index("-pym")], argv[argv.index("-pym") + 2 :]
    assert own == [
        *("run", "-d", "-m", "127.0.0.1:8085", "-p", "2", "-s", "file:/s/savepoint-1"),
        *("-pyexec", "/usr/bin/python3", "-pyfs", "/srv/code", "-j", "/srv/b.jar"),
    ]
    assert job_own == ["--parallelism", "2", "--prefix", "p-"]


def test_a_fresh_start_on_another_cluster_names_neither_savepoint_nor_interpreter() -> None:
    """The cluster's own Python runs the workers."""
    argv = client_argv(
        LAYOUT, ADDRESS, Path("/srv/code"), Path("/srv/b.jar"), Submission("streams.jobs.clean", 1)
    )
    assert not {"-s", "-pyexec"} & set(argv)


@pytest.mark.parametrize("address", ["127.0.0.1:8085", "https://flink:8081", "http://flink"])
def test_an_address_that_the_client_cannot_use_is_said(address: str) -> None:
    """The message shows the form."""
    with pytest.raises(FlinkError, match="http://HOST:PORT"):
        client_argv(
            LAYOUT, address, Path("/srv/code"), Path("/srv/b.jar"), Submission("streams.jobs.clean", 1)
        )


def test_the_cause_is_taken_out_of_what_the_client_says() -> None:
    """Python's own error tells more than Java's about the process that raised it."""
    java = (
        "org.apache.X: failed\n\tat a.b(C.java:1)\nCaused by: java.Y: first\nCaused by: java.Z: no such host"
    )
    assert told(java) == "java.Z: no such host"
    python = f"Traceback (most recent call last):\n  File ...\nschemas.errors.Fatal: no topic\n{java}"
    assert told(python) == "schemas.errors.Fatal: no topic"
    assert told("nothing known\n") == "\nnothing known"


def test_runs_are_remembered_by_name(tmp_path: Path) -> None:
    """What was run last is found again by another command."""
    runs = Runs(tmp_path)
    with pytest.raises(FlinkError, match="headrace flink run clean"):
        runs.get("clean")
    run = Run("a" * 32, ADDRESS, "streams.jobs.clean", 2, ("--prefix", "p-"))
    runs.put("clean", run)
    runs.put("windows", run)
    assert Runs(tmp_path).get("clean") == run
    assert set(runs.all()) == {"clean", "windows"}


def test_an_unknown_job_is_answered_with_those_there_are() -> None:
    """A typing error costs one look."""
    assert module_of(PROBE) == MODULES[PROBE]
    with pytest.raises(FlinkError, match=PROBE):
        module_of("claen")
