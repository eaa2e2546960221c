"""The cluster's place for metrics: pushes are merged, replaced, and forgotten when their process is gone."""

from pathlib import Path

import httpx
import pytest

from infra.flink.metrics import SILENT_AFTER_S, Groups, gateway
from infra.local.ports import LOOPBACK, lease_port

TASKS = '# HELP flink_tasks tasks\n# TYPE flink_tasks gauge\nflink_tasks{{tm_id="{name}"}} {value}\n'


class Clock:
    """A clock that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        """Return the present second."""
        return self.now


def values(groups: Groups) -> dict[str, float]:
    """Return every series of `flink_tasks` by its TaskManager."""
    return {sample.labels["tm_id"]: sample.value for family in groups.collect() for sample in family.samples}


def test_a_push_replaces_its_group_and_families_are_merged() -> None:
    """Two TaskManagers' series of one name come out as one family, each at its newest value."""
    groups = Groups()
    groups.put("/metrics/job/a", TASKS.format(name="a", value=1))
    groups.put("/metrics/job/b", TASKS.format(name="b", value=2))
    groups.put("/metrics/job/a", TASKS.format(name="a", value=3))
    assert values(groups) == {"a": 3.0, "b": 2.0}
    assert len(list(groups.collect())) == 1
    groups.delete("/metrics/job/a")
    assert values(groups) == {"b": 2.0}


def test_a_process_that_fell_silent_is_no_longer_shown() -> None:
    """A killed JobManager's last figures would look like a running job's."""
    clock = Clock()
    groups = Groups(clock)
    groups.put("/metrics/job/a", TASKS.format(name="a", value=1))
    clock.now = SILENT_AFTER_S - 1
    groups.put("/metrics/job/b", TASKS.format(name="b", value=2))
    assert set(values(groups)) == {"a", "b"}
    clock.now = SILENT_AFTER_S + 1
    assert set(values(groups)) == {"b"}


@pytest.mark.parametrize("chunked", [False, True])
def test_what_is_pushed_is_scraped(tmp_path: Path, chunked: bool) -> None:
    """The gateway takes both ways of sending a body, and says in a file where Prometheus finds it."""
    lease = lease_port()
    body = TASKS.format(name="a", value=1).encode()
    with gateway(tmp_path, lease.port) as url:
        where = f"http://{LOOPBACK}:{lease.port}/metrics/job/a"
        pushed = httpx.put(where, content=iter([body[:20], body[20:]]) if chunked else body)
        assert pushed.status_code == 202
        assert 'flink_tasks{tm_id="a"} 1.0' in httpx.get(url).text
        assert httpx.put(where, content=b"flink_tasks{").status_code == 400
        assert httpx.delete(where).status_code == 202
        assert "flink_tasks" not in httpx.get(url).text
        assert list((tmp_path / "metrics").glob("flink-*.json"))
    assert not list((tmp_path / "metrics").glob("flink-*.json"))
    lease.release()
