"""The workers of the stack, and when the gateway counts as ready."""

import json
import socket
from pathlib import Path

from infra.cli.worker import Worker
from infra.local.workers import gateway_url, worker_specs


def test_every_worker_runs_in_the_data_folder(tmp_path: Path) -> None:
    """One process each, its log and its home in the folder, its configuration as given."""
    specs = worker_specs(tmp_path, "other.toml")
    assert [spec.name for spec in specs] == [worker.value for worker in Worker]
    assert {spec.env["HEADRACE_HOME"] for spec in specs} == {str(tmp_path)}
    assert {spec.env["HEADRACE_CONFIG"] for spec in specs} == {"other.toml"}
    assert all(spec.log_path.parent == tmp_path / "log" for spec in specs)


def test_the_gateway_is_ready_when_it_listens(tmp_path: Path) -> None:
    """No address, no gateway; an address left behind by a killed one counts for nothing."""
    (ready,) = [spec.ready for spec in worker_specs(tmp_path, workers=[Worker.GATEWAY])]
    assert ready is not None
    assert not ready()
    assert gateway_url(tmp_path) == ""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        (tmp_path / "gateway.json").write_text(json.dumps({"url": url}))
        assert ready()
        assert gateway_url(tmp_path) == url
    assert not ready()
