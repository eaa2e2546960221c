"""The benchmark's data folder: produces an empty folder with the run's `headrace.toml`."""

import shutil
from pathlib import Path
from typing import Final

from infra.bench.ingest.plan import IngestPlan
from infra.local.home import Home, is_alive, read_record
from schemas.errors import Fatal

MARKER: Final = ".headrace-bench-ingest"


def prepare(plan: IngestPlan) -> Path:
    """Make the folder, or empty one that an earlier run made, and return the configuration's path.

    Raises:
        Fatal: something else lies there, or a stack runs in it.
    """
    home = plan.home
    if home.exists() and any(home.iterdir()):
        if not (home / MARKER).is_file():
            raise Fatal(f"{home} is not empty and was not made by this benchmark; name another with --home")
        record = read_record(Home(home))
        if record is not None and is_alive(record["supervisor_pid"], record["supervisor_started"]):
            raise Fatal(f"a stack runs in {home}: HEADRACE_HOME={home} headrace down")
        shutil.rmtree(home)
    home.mkdir(parents=True, exist_ok=True)
    (home / MARKER).write_text("Made by `headrace bench ingest`, which empties this folder when it starts.\n")
    config = home / "headrace.toml"
    config.write_text(plan.config(), encoding="utf-8")
    return config
