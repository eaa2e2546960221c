"""The chaos run's data folder: produces an empty folder and the `headrace.toml` that its stack runs with."""

from pathlib import Path
from typing import Final

from infra.bench.chaos.traffic import STREAM
from infra.local.workspace import claim

MARKER: Final = ".headrace-chaos"

CONFIG: Final = f"""[streams.{STREAM}]
kind = "sensor"
dedupe = {{ window = "6h" }}

[streams.{STREAM}.model]
task = "anomaly"
learn = {{ epochs = 20 }}
"""


def prepare(home: Path, command: str = "headrace bench chaos") -> Path:
    """Make the folder, or empty one that an earlier run made; return the path of its `headrace.toml`.

    Raises:
        Fatal: something else lies there, or a stack runs in it.
    """
    claim(home, command, MARKER)
    config = home / "headrace.toml"
    config.write_text(CONFIG, encoding="utf-8")
    return config
