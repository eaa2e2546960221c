"""A cluster's files: what is written where, and that a second layout leaves nothing of the first."""

from pathlib import Path

import pytest

from infra.flink.cluster import PORTS, Shape, cluster_settings, cluster_specs
from infra.flink.layout import Layout, lay_out, local_settings
from infra.local.ports import LOOPBACK

FAKE_JARS = ("flink-dist-2.3.0.jar", "log4j-core-2.jar")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A package with two jars and a plugin, and an empty folder beside it."""
    flink = tmp_path / "pyflink"
    for name in (
        *(f"lib/{jar}" for jar in FAKE_JARS),
        "opt/flink-python-2.3.0.jar",
        "plugins/metrics-x/x.jar",
    ):
        (flink / name).parent.mkdir(parents=True, exist_ok=True)
        (flink / name).touch()
    return Layout(flink, tmp_path / "cluster")


def configured(layout: Layout) -> dict[str, str]:
    """Read the configuration back."""
    lines = (layout.conf / "config.yaml").read_text(encoding="utf-8").splitlines()
    return dict(line.split(": ", maxsplit=1) for line in lines)


def test_jars_are_linked_and_settings_written(layout: Layout, tmp_path: Path) -> None:
    """The package's jars and those beside lie in one folder; Flink's scripts are led to all of it."""
    connector = tmp_path / "connector.jar"
    connector.touch()
    lay_out(layout, {"rest.port": "1234"}, lib=[connector], plugins=["metrics-x"])
    assert {path.name for path in layout.lib.iterdir()} == {*FAKE_JARS, "connector.jar"}
    assert all(path.exists() for path in layout.lib.iterdir())
    assert (layout.folder / "plugins" / "metrics-x" / "x.jar").exists()
    told = configured(layout)
    assert told["rest.port"] == "1234"
    assert "--add-opens=java.base/java.util=ALL-UNNAMED" in told["env.java.opts.all"]
    environment = layout.environment()
    assert environment["FLINK_HOME"] == str(layout.flink)
    for name in ("CONF", "LIB", "OPT", "PLUGINS", "LOG", "PID"):
        assert Path(environment[f"FLINK_{name}_DIR"]).is_dir(), name


def test_an_older_jar_does_not_stay(layout: Layout) -> None:
    """After an update of the package only the new one's jars are linked; checkpoints stay."""
    lay_out(layout, {})
    layout.checkpoints.mkdir()
    (layout.flink / "lib" / FAKE_JARS[0]).rename(layout.flink / "lib" / "flink-dist-2.4.0.jar")
    lay_out(layout, {})
    assert {path.name for path in layout.lib.iterdir()} == {"flink-dist-2.4.0.jar", FAKE_JARS[1]}
    assert layout.checkpoints.is_dir()


def test_a_local_cluster_stays_on_loopback_and_recovers(layout: Layout) -> None:
    """Every address is loopback's; jobs are kept in ZooKeeper; a lost TaskManager is noticed in seconds."""
    ports = dict(zip(PORTS, range(1000, 1004), strict=True))
    told = cluster_settings(layout, Shape(slots=3, taskmanager_mb=1600), ports)
    named = [told[key] for key in told if key.endswith(("host", "address", "rpc.address"))]
    assert set(named) == {LOOPBACK}
    assert told["high-availability.type"] == "zookeeper"
    assert told["high-availability.zookeeper.quorum"] == f"{LOOPBACK}:1000"
    assert int(told["heartbeat.timeout"]) <= 6000
    assert told["state.backend.type"] == "rocksdb"
    assert (told["taskmanager.numberOfTaskSlots"], told["taskmanager.memory.process.size"]) == ("3", "1600m")
    assert told["execution.checkpointing.dir"] == local_settings(layout)["execution.checkpointing.dir"]


def test_every_process_has_its_own_name_and_log(layout: Layout) -> None:
    """ZooKeeper comes first, then the JobManager; a TaskManager keeps its name over a restart."""
    lay_out(layout, {})
    ports = dict(zip(PORTS, range(1000, 1004), strict=True))
    shape = Shape(taskmanagers=2, slots=4)
    assert shape.task_slots == 8
    specs = cluster_specs(layout, shape, ports, lambda name: layout.folder / f"{name}.log")
    names = [spec.name for spec in specs]
    assert names == ["zookeeper", "jobmanager", "taskmanager-1", "taskmanager-2"]
    assert len({spec.log_path for spec in specs}) == len(specs)
    assert "taskmanager.resource-id=taskmanager-2" in specs[3].argv
    assert f"clientPortAddress={LOOPBACK}" in (layout.conf / "zoo.cfg").read_text()
