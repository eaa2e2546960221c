"""An installation of a test's own: its configuration and addresses, and its workers as processes."""

import os
import subprocess
import sys
from pathlib import Path

from infra.runtime.settings import Endpoints


def environment_of(stack: Endpoints, folder: Path, config: str) -> dict[str, str]:
    """Write `headrace.toml` into the folder; return the variables by which workers and commands find it."""
    path = folder / "headrace.toml"
    path.write_text(config)
    return {
        "HEADRACE_CONFIG": str(path),
        "HEADRACE_HOME": str(folder),
        "HEADRACE_KAFKA": stack.kafka,
        "HEADRACE_REDIS": stack.redis,
        "HEADRACE_CLICKHOUSE": stack.clickhouse,
    }


def start_worker(name: str, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a worker as the stack does; what it says is added to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "infra.cli", "worker", name],
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
        )
