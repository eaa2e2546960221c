"""Where the real data for tests lie: beside the project, not in it."""

import os
from pathlib import Path


def data_folder() -> Path:
    """Return the folder of real data: `HEADRACE_DATA`, else `shared/data` beside the project."""
    folder = Path(os.environ.get("HEADRACE_DATA", Path(__file__).parents[2] / "shared" / "data"))
    assert folder.is_dir(), f"{folder} is missing; HEADRACE_DATA names the folder of test data"
    return folder
