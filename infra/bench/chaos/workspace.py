"""The chaos run's data folder: produces an empty folder and the `headrace.toml` that its stack runs with."""

import shutil
from pathlib import Path
from typing import Final

from infra.bench.chaos.traffic import STREAM
from schemas.errors import Fatal

MARKER: Final = ".headrace-chaos"

CONFIG: Final = f"""[streams.{STREAM}]
kind = "sensor"
dedupe = {{ window = "6h" }}

[streams.{STREAM}.model]
task = "anomaly"
learn = {{ epochs = 20 }}
"""


def prepare(home: Path) -> Path:
    """Make the folder, or empty one that an earlier run made; return the path of its `headrace.toml`.

    Raises:
        Fatal: something else lies there, or a stack runs in it.
    """
    from infra.local.home import Home, is_alive, read_record

    if home.exists() and any(home.iterdir()):
        if not (home / MARKER).is_file():
            raise Fatal(f"{home} is not empty and was not made by `bench chaos`; name another with --home")
        record = read_record(Home(home))
        if record is not None and is_alive(record["supervisor_pid"], record["supervisor_started"]):
            raise Fatal(f"a stack runs in {home}: HEADRACE_HOME={home} headrace down")
        shutil.rmtree(home)
    home.mkdir(parents=True, exist_ok=True)
    (home / MARKER).write_text("Made by `headrace bench chaos`, which empties this folder when it starts.\n")
    config = home / "headrace.toml"
    config.write_text(CONFIG, encoding="utf-8")
    return config
