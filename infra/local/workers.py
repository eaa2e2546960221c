"""Which workers run beside the local services, in the order of an event's way."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from infra.cli.worker import Worker
from infra.local.process import ProcessSpec

# The workers share the machine's cores: none may spread one operation over all of them.
_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def worker_specs(
    home: Path, config: str = "", workers: Sequence[Worker] = tuple(Worker)
) -> list[ProcessSpec]:
    """Return the processes of the workers; each finds the services in the data folder's `stack.json`.

    `config` is the path of `headrace.toml`; empty leaves it to the environment and the current folder.
    """
    environment = {**_ONE_THREAD, "HEADRACE_HOME": str(home)}
    if config:
        environment["HEADRACE_CONFIG"] = config
    return [
        ProcessSpec(
            name=worker.value,
            argv=[sys.executable, "-m", "infra.cli", "worker", worker.value],
            env=environment,
            log_path=home / "log" / f"{worker.value}.log",
        )
        for worker in workers
    ]
