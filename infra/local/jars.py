"""Kafka's jars, and others: consumes a pinned ``pom.xml`` and its checksums, produces a verified folder."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from infra.local.errors import StackError

KAFKA_VERSION = "4.3.1"
HERE = Path(__file__).parent / "kafka"


class JarSet(NamedTuple):
    """Jars of one program: ``here`` holds its ``pom.xml`` and the digests of what that resolves to."""

    title: str
    name: str
    here: Path

    @property
    def folder(self) -> Path:
        """Where the verified jars lie once fetched."""
        return cache_folder() / self.name

    def checksums(self) -> dict[str, str]:
        """File name to sha256, as checked in."""
        text = (self.here / "checksums.sha256").read_text()
        lines = (line.split() for line in text.splitlines() if line)
        return {name: digest for digest, name in lines}

    def wrong(self, folder: Path) -> list[str]:
        """What is wrong with a folder of jars, a line each: missing, altered or foreign files."""
        expected = self.checksums()
        present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        wrong = [f"{name} is missing" for name in sorted(expected.keys() - present)]
        wrong += [f"{name} is not in the checked list" for name in sorted(present - expected.keys())]
        for name in sorted(expected.keys() & present):
            with (folder / name).open("rb") as jar:
                if hashlib.file_digest(jar, "sha256").hexdigest() != expected[name]:
                    wrong.append(f"{name} has another sha256 than the checked one")
        return wrong


KAFKA = JarSet(f"Apache Kafka {KAFKA_VERSION}", f"kafka-{KAFKA_VERSION}", HERE)


def cache_folder() -> Path:
    """``$HEADRACE_CACHE``, by default ``~/.cache/headrace``."""
    return Path(os.environ.get("HEADRACE_CACHE") or Path.home() / ".cache" / "headrace")


def ensure_jars(progress: Callable[[str], None] = lambda _line: None, jars: JarSet = KAFKA) -> Path:
    """Return the folder of verified jars, fetching them with Maven first where it is not there.

    The folder is only ever renamed into place whole and verified, so its presence alone means that it is
    right.

    Raises:
        StackError: Maven is missing or failed, or a jar differs from its checksum.
    """
    folder = jars.folder
    if folder.is_dir():
        return folder
    if shutil.which("mvn") is None:
        raise StackError(f"{jars.title} is not there and Maven is missing: apt-get install -y maven")
    progress(f"fetching {jars.title} (about 55 MB, once)")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{jars.name}-", dir=folder.parent) as scratch:
        fetched = Path(scratch) / "jars"
        _copy_dependencies(jars, fetched)
        wrong = jars.wrong(fetched)
        if wrong:
            raise StackError("the jars that Maven brought are not the checked ones: " + "; ".join(wrong[:5]))
        if not folder.is_dir():  # else another start was faster, with the same verified files
            fetched.rename(folder)
    return folder


def class_archive(jars: Path) -> Path:
    """Where this Java's archive of Kafka's classes lies, if it was made; it nearly halves a start."""
    java = Path(shutil.which("java") or "java").resolve()
    release = java.parent.parent / "release"
    mark = hashlib.sha256((release.read_bytes() if release.exists() else b"") + bytes(java)).hexdigest()[:12]
    return jars.with_name(f"{jars.name}-{mark}.jsa")


def _copy_dependencies(jars: JarSet, target: Path) -> None:
    argv = ["mvn", "--quiet", "--batch-mode", "-Dstyle.color=never", "--file", str(jars.here / "pom.xml")]
    argv += ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={target}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        told = (done.stdout + done.stderr)[-2000:]
        raise StackError(f"Maven could not bring the jars of {jars.title}:\n{told}")
