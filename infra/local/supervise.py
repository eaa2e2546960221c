"""The supervisor that ``headrace up`` detaches: ``python -m infra.local.supervise HOME [--no-workers]``."""

import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from infra.local.detached import say
from infra.local.errors import StackError
from infra.local.process import ProcessSpec
from infra.local.stack import Stack


def hold(home: Path, *, workers: bool, progress: Callable[[str], None]) -> None:
    """Start the stack, block until SIGTERM or SIGINT, stop it; a signal during the start stops it too."""
    for sig in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sig, _interrupted)
    with Stack(home, workers=(lambda: _worker_specs(home)) if workers else (), progress=progress) as stack:
        progress("ready")
        stack.wait(_following(stack, home) if workers else lambda: None)
        for sig in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sig, signal.SIG_IGN)  # a second Ctrl-C must not cut the orderly stop short


def _interrupted(*_: object) -> None:
    raise StackError("stopped before the stack was ready")


def _worker_specs(home: Path) -> Sequence[ProcessSpec]:
    from infra.local.cleaning import workers_of
    from infra.local.workers import worker_specs

    return worker_specs(home, workers=workers_of(home))


def _following(stack: Stack, home: Path) -> Callable[[], None]:
    from infra.local import cleaning

    return lambda: cleaning.follow(stack, home)


def main() -> None:
    """Hold a stack in the folder named on the command line."""
    from infra.runtime import log

    log.configure("supervisor")
    try:
        hold(
            Path(sys.argv[1]),
            workers="--no-workers" not in sys.argv[2:],
            progress=say,
        )
    except StackError as error:
        sys.exit(f"stack: error: {error}")


if __name__ == "__main__":
    main()
