"""The first model of a stream: consumes rows at hand, produces a release folder and the record to publish.

python -m trainers.bootstrap STREAM ROWS.jsonl      one {"clean": {...}, "label": "..."} a line
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from infra.runtime.durable import write
from infra.runtime.settings import Settings, home, load_config
from schemas import codec
from schemas.clean import Clean
from schemas.config import Stream
from schemas.errors import Fatal
from schemas.release import Release
from trainers.dataset import rows_of
from trainers.memory import Memory, Origin, memory_file
from trainers.outcome import Job
from trainers.pipeline import train


class Labelled(msgspec.Struct, frozen=True):
    """One line of a rows file."""

    clean: Clean
    label: str | None = None


def train_first(
    settings_or_home: Settings | Path,
    stream_name: str,
    stream: Stream,
    rows: Sequence[tuple[Clean, str | None]],
) -> Release:
    """Train a stream's first model on rows and return its release, which is still to be published.

    Raises:
        Fatal: there are too few rows, or the model is no better than always giving the commonest answer.
    """
    folder = settings_or_home if isinstance(settings_or_home, Path) else settings_or_home.home
    run = folder / "trainer" / "runs" / f"{stream_name}-first"
    run.mkdir(parents=True, exist_ok=True)
    job = Job(
        home=str(folder.absolute()),
        stream=stream_name,
        config=stream.model_dump_json(),
        run=str(run),
        threads=threads(),
    )
    data = Memory(memory_file(folder, stream_name)).dataset(
        job.learner.learn, rows_of(rows, job.learner.task), [], None,
        Origin(stream=stream_name, cleaning=stream.clean),
    )  # fmt: skip
    write(run / "dataset.json", data)
    outcome = train(job, data)
    (run / "job.json").write_bytes(msgspec.json.encode(job))
    (run / "outcome.json").write_bytes(msgspec.json.encode(outcome))
    if not outcome.released:
        raise Fatal(f"the first model of stream {stream_name!r} was rejected: {'; '.join(outcome.reasons)}")
    return outcome.release


def threads() -> int:
    """Return how many threads training may use: `HEADRACE_TRAINER_THREADS`, else one, for serving's sake."""
    return max(1, int(os.environ.get("HEADRACE_TRAINER_THREADS", "1")))


def main(arguments: Sequence[str]) -> int:
    """Train from a file and print the release record as one line of JSON."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m trainers.bootstrap STREAM ROWS.jsonl\n")
        return 2
    name, path = arguments
    stream = load_config().streams.get(name)
    if stream is None:
        sys.stderr.write(f"no stream is called {name!r} in headrace.toml\n")
        return 2
    lines = [codec.decode(line, Labelled) for line in Path(path).read_bytes().splitlines() if line.strip()]
    try:
        release = train_first(home(), name, stream, [(line.clean, line.label) for line in lines])
    except Fatal as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(codec.encode(release).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
