"""The training process: consumes names of run folders on stdin, produces steps and outcomes on stdout.

The worker starts it at low priority and keeps it, so that torch is imported once and never in the event loop.
It ends when its standard input does: a killed worker leaves no trainer behind.

    <- {"run": "/…/runs/requests-42"}        a folder with job.json and dataset.json
    -> {"step": "training"}  …  {"done": "…/outcome.json"}  or  {"error": "…"}
"""

import os
import queue
import sys
import threading
from pathlib import Path
from typing import Any, Final

import msgspec

from infra.runtime.durable import write

_NICENESS: Final = "5"
"""A third of an equal share where all cores are wanted: 10 starved it, importing torch took a minute."""


def main() -> int:
    """Serve jobs until standard input ends."""
    os.nice(max(0, int(os.environ.get("HEADRACE_TRAINER_NICE", _NICENESS))))
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # a library that prints must not disturb the replies
    jobs: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(jobs,), daemon=True).start()

    def reply(message: dict[str, Any]) -> None:
        replies.write(msgspec.json.encode(message) + b"\n")

    from infra.runtime import log
    from trainers import pipeline  # imports torch: the reason for this process

    pipeline.warm()
    log.configure("trainer-job")
    reply({"step": "ready"})
    while True:
        run = Path(jobs.get())
        try:
            outcome = perform(run, lambda step: reply({"step": step}), pipeline)
        except Exception as error:  # noqa: BLE001 - the worker is told, whatever it was
            log.get_logger(__name__).exception("training.failed", run=run.name)
            reply({"error": f"{type(error).__name__}: {error}"})
        else:
            reply({"done": str(outcome)})


def perform(run: Path, listener: Any, pipeline: Any) -> Path:
    """Train what a run folder describes and return the path of its outcome, which is on disk."""
    from trainers.dataset import Dataset
    from trainers.outcome import Job

    job = msgspec.json.decode((run / "job.json").read_bytes(), type=Job)
    data = msgspec.json.decode((run / "dataset.json").read_bytes(), type=Dataset)
    return write(run / "outcome.json", pipeline.train(job, data, listener))


def _read(jobs: "queue.Queue[str]") -> None:
    """Pass jobs on; end the process, in the middle of a training too, when the worker is gone."""
    for line in sys.stdin.buffer:
        jobs.put(msgspec.json.decode(line)["run"])
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
