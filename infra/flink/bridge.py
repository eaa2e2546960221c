"""The jobs' ends in Java: consumes the sources in `java/`, produces one small jar that travels with a job.

Per record the JVM must do nothing but copy: they read lines of files, gather records into batches for
Python, and take batches apart for the producer. Compiled once for each version of them, Flink and connector.
"""

import hashlib
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from infra.flink.jars import FLINK_VERSION, KAFKA_CONNECTOR, ensure_jar, jars_folder
from infra.flink.layout import flink_package
from infra.local.errors import StackError

SOURCES: Final = Path(__file__).with_name("java")
RELEASE: Final = "11"
"""The oldest Java that Flink 2 runs on."""

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def ensure_bridge(progress: Callable[[str], None] = lambda _line: None) -> Path:
    """Return the jar, compiled first where it is not there.

    Raises:
        StackError: Java's compiler is missing, Flink or its connector is, or the sources do not compile.
    """
    sources = sorted(SOURCES.rglob("*.java"))
    digest = hashlib.sha256(f"{FLINK_VERSION} {KAFKA_CONNECTOR.name} {RELEASE}".encode())
    for source in sources:
        digest.update(source.read_bytes())
    path = jars_folder() / f"headrace-flink-{digest.hexdigest()[:12]}.jar"
    if not path.exists():
        if shutil.which("javac") is None:
            raise StackError("Java's compiler is missing: apt-get install -y default-jdk-headless")
        progress("compiling Headrace's part in Java (once)")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".bridge-", dir=path.parent) as scratch:
            _compile(sources, Path(scratch) / "classes")
            _jar(Path(scratch) / "classes", Path(scratch) / "whole.jar")
            (Path(scratch) / "whole.jar").replace(path)  # whole or not at all
    return path


def _compile(sources: list[Path], classes: Path) -> None:
    known = [*(flink_package() / "lib").glob("*.jar"), ensure_jar(KAFKA_CONNECTOR)]
    argv = ["javac", "-Xlint:all", "-Werror", "-J-XX:TieredStopAtLevel=1", "--release", RELEASE]
    argv += ["-d", str(classes), "-cp", ":".join(map(str, known)), *map(str, sources)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StackError("the jobs' part in Java does not compile:\n" + (done.stdout + done.stderr)[-1500:])


def _jar(classes: Path, path: Path) -> None:
    """Pack classes with fixed times: equal sources make an equal file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as jar:
        for found in sorted(classes.rglob("*.class")):
            jar.writestr(zipfile.ZipInfo(str(found.relative_to(classes)), _EPOCH), found.read_bytes())
