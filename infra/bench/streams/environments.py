"""The peers' environments: consumes pinned requirements, produces an interpreter that has them.

Each peer lives in a virtual environment of its own, made with uv on first use and kept: their dependencies
contradict Headrace's and each other's.
"""

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from infra.local.errors import StackError
from infra.local.jars import cache_folder

REQUIREMENTS: Final[Mapping[str, Sequence[str]]] = {
    "bytewax": ("bytewax==0.21.1", "confluent-kafka==2.16.1", "msgspec==0.22.0"),
    "quix": ("quixstreams==3.28.1", "msgspec==0.22.0"),
    # Its scripts and jars alone: the job is SQL, and Python's side of Flink is not run.
    "flink": ("--no-deps", "apache-flink==2.3.0", "apache-flink-libraries==2.3.0"),
    "py-spy": ("py-spy==0.4.3",),
}

Say = Callable[[str], None]


def environment(name: str, folder: Path, say: Say) -> Path:
    """Return the `bin` folder of an environment, made first where it is missing or has other pins.

    Raises:
        StackError: uv is missing, or the packages could not be installed.
    """
    return installed(name, REQUIREMENTS[name], folder, say)


def installed(name: str, wanted: Sequence[str], folder: Path, say: Say) -> Path:
    """Return the `bin` folder of an environment with these requirements, made first where it is missing.

    Raises:
        StackError: uv is missing, or the packages could not be installed.
    """
    mark = hashlib.sha256("\n".join(wanted).encode()).hexdigest()[:12]
    place = folder / f"{name}-{mark}"
    done = place / "installed"
    if not done.exists():
        told = ", ".join(wanted) if len(wanted) < 5 else f"{name} and what it needs, {len(wanted)} packages"
        say(f"installing {told} (once)")
        uv = _uv()
        shutil.rmtree(place, ignore_errors=True)
        _run([uv, "venv", "--quiet", "--python", "3.11", str(place)])
        _run([uv, "pip", "install", "--quiet", "--python", str(place / "bin" / "python"), *wanted])
        done.touch()
    return place / "bin"


def _uv() -> str:
    """Find uv in PATH, or where `infra/run` installs it."""
    own = cache_folder() / "uv" / "bin" / "uv"
    found = shutil.which("uv") or (str(own) if own.exists() else None)
    if found is None:
        raise StackError("uv is missing, which installs the peers: python3 -m pip install uv")
    return found


def _run(argv: Sequence[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StackError(f"{Path(argv[0]).name} failed:\n" + (done.stdout + done.stderr)[-1500:])
