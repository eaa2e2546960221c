"""The benchmark's data folder: produces an empty folder with the run's `headrace.toml`."""

from pathlib import Path
from typing import Final

from infra.bench.ingest.plan import IngestPlan
from infra.local.workspace import claim

MARKER: Final = ".headrace-bench-ingest"


def prepare(plan: IngestPlan) -> Path:
    """Make the folder, or empty one that an earlier run made, and return the configuration's path.

    Raises:
        Fatal: something else lies there, or a stack runs in it.
    """
    home = plan.home
    claim(home, "headrace bench ingest", MARKER)
    config = home / "headrace.toml"
    config.write_text(plan.config(), encoding="utf-8")
    return config
