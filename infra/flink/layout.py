"""A Flink cluster's files: consumes Flink's pip package, jars and settings, produces folders and environment.

The package is shared and read-only, so everything of one cluster's own (configuration, links to its jars,
logs, checkpoints) lies in a folder of its own, to which Flink's scripts are led by their environment.
"""

import importlib.util
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.local.errors import StackError
from infra.local.ports import LOOPBACK

_LOGGING: Final = Path(__file__).with_name("log4j.properties")
_EXPORTS: Final = [
    f"jdk.compiler/com.sun.tools.javac.{part}" for part in ("api", "file", "parser", "tree", "util")
]
_OPENS: Final = (
    *("lang", "net", "io", "nio", "lang.reflect", "text", "time", "util", "util.concurrent"),
    *("util.concurrent.atomic", "util.concurrent.locks"),
)

ON_LOOPBACK: Final[Mapping[str, str]] = {
    "jobmanager.rpc.address": LOOPBACK,
    "jobmanager.bind-host": LOOPBACK,
    "taskmanager.host": LOOPBACK,
    "taskmanager.bind-host": LOOPBACK,
    "rest.address": LOOPBACK,
    "rest.bind-address": LOOPBACK,
}
"""Nothing of a local cluster can be reached from another machine."""

QUICK_START: Final = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""For a JVM that plans and coordinates: what the second compiler gains there is less than it takes."""

STATE: Final[Mapping[str, str]] = {
    "state.backend.type": "rocksdb",
    "execution.checkpointing.incremental": "true",
}
"""State may outgrow memory, and a checkpoint carries what changed."""


COLLECTOR: Final[Mapping[str, str]] = {"env.java.opts.taskmanager": "-XX:+UseParallelGC"}
"""A TaskManager's heap holds batches of a megabyte that live for moments: G1, Flink's own choice, began a
cycle for each, a third of the JVM's time. The state is in RocksDB, outside of the heap; pauses stay short."""


@dataclass(frozen=True)
class Layout:
    """A cluster's folder and the Flink that runs in it.

    Attributes:
        flink: the `pyflink` folder of the pip package, which serves as Flink's home.
        folder: the cluster's own.
    """

    flink: Path
    folder: Path

    @property
    def lib(self) -> Path:
        """The jars on every process's class path."""
        return self.folder / "lib"

    @property
    def conf(self) -> Path:
        """The configuration."""
        return self.folder / "conf"

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints lie."""
        return self.folder / "checkpoints"

    @property
    def savepoints(self) -> Path:
        """Where savepoints lie."""
        return self.folder / "savepoints"

    def script(self, name: str, *arguments: str) -> list[str]:
        """Return the command that runs one of Flink's scripts."""
        return ["bash", str(self.flink / "bin" / name), *arguments]

    def environment(self) -> dict[str, str]:
        """Return what leads Flink's scripts and its Python to this folder and this interpreter."""
        return {
            "FLINK_HOME": str(self.flink),
            "FLINK_CONF_DIR": str(self.conf),
            "FLINK_LIB_DIR": str(self.lib),
            "FLINK_OPT_DIR": str(self.folder / "opt"),
            "FLINK_PLUGINS_DIR": str(self.folder / "plugins"),
            "FLINK_LOG_DIR": str(self.folder / "log"),
            "FLINK_PID_DIR": str(self.folder / "log"),
            "PYFLINK_CLIENT_EXECUTABLE": sys.executable,
            "PYFLINK_PYTHON": sys.executable,
        }


def flink_package() -> Path:
    """Return the folder of Flink's pip package in this environment.

    Raises:
        StackError: it is not installed.
    """
    found = importlib.util.find_spec("pyflink")
    if found is None or not found.submodule_search_locations:
        raise StackError("Flink is not installed here: uv sync --locked --extra flink")
    return Path(found.submodule_search_locations[0])


def require_java() -> str:
    """Return Java's path.

    Raises:
        StackError: there is none.
    """
    java = shutil.which("java")
    if java is None:
        raise StackError("Java is missing, which Flink runs on: apt-get install -y openjdk-17-jre-headless")
    return java


def lay_out(
    layout: Layout,
    settings: Mapping[str, str],
    *,
    lib: Sequence[Path] = (),
    opt: Sequence[Path] = (),
    plugins: Sequence[str] = (),
) -> None:
    """Write a cluster's configuration and link its jars; what an earlier call wrote there is replaced.

    Args:
        layout: where.
        settings: Flink's own keys.
        lib: jars on the class path beside the package's.
        opt: jars beside the package's that its scripts look for.
        plugins: folders of the package's plugins to load.
    """
    for own in ("log", "tmp"):
        (layout.folder / own).mkdir(parents=True, exist_ok=True)
    _link(layout.lib, [*(layout.flink / "lib").glob("*.jar"), *lib])
    _link(layout.folder / "opt", [*(layout.flink / "opt").glob("*.jar"), *opt])
    _link(layout.folder / "plugins", [layout.flink / "plugins" / name for name in plugins])
    logs = ("log4j.properties", "log4j-console.properties", "log4j-cli.properties")
    _link(layout.conf, [_LOGGING] * len(logs), logs)
    everywhere = {
        # As Flink's own configuration does for Java 17, which closes these modules to libraries.
        "env.java.opts.all": " ".join(f"--{kind}={name}=ALL-UNNAMED" for kind, name in _modules()),
        "io.tmp.dirs": str(layout.folder / "tmp"),
    }
    lines = [f"{key}: {value}\n" for key, value in {**everywhere, **settings}.items()]
    (layout.conf / "config.yaml").write_text("".join(lines), encoding="utf-8")


def local_settings(layout: Layout) -> dict[str, str]:
    """Return what every local cluster is set to: loopback, RocksDB, and its own folders."""
    return {
        **ON_LOOPBACK,
        **STATE,
        **COLLECTOR,
        "execution.checkpointing.dir": layout.checkpoints.as_uri(),
        "execution.checkpointing.savepoint-dir": layout.savepoints.as_uri(),
    }


def _modules() -> list[tuple[str, str]]:
    """Return what Flink needs of Java's modules, and how it needs it."""
    exported = ["java.rmi/sun.rmi.registry", *_EXPORTS, "java.security.jgss/sun.security.krb5"]
    opened = [f"java.base/java.{part}" for part in _OPENS] + ["java.base/sun.nio.ch"]
    return [("add-exports", name) for name in exported] + [("add-opens", name) for name in opened]


def _link(folder: Path, targets: Sequence[Path], names: Sequence[str] = ()) -> None:
    """Fill a folder anew with links: after an update the old version's jars must not stay beside the new."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for target, name in zip(targets, names or [target.name for target in targets], strict=True):
        (folder / name).symlink_to(target)
