"""Prepares the local broker ahead of its first start: ``python -m infra.local.prepare``.

The jars are fetched and verified; then a broker that starts once and stops writes down the classes it loaded
(Java's class data sharing). Later starts map that archive and take about half the processor time.
"""

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from infra.local.broker import broker_spec
from infra.local.errors import StackError
from infra.local.jars import class_archive, ensure_jars
from infra.local.ports import lease_port
from infra.local.process import ProcessSpec, Supervisor


def prepare() -> None:
    """Make the jars and the class archive present; returns at once when they are."""
    jars = ensure_jars(progress=_say)
    archive = class_archive(jars)
    if archive.exists():
        return
    _say("teaching Java which classes Kafka loads (once)")
    with tempfile.TemporaryDirectory(prefix=".archive-", dir=archive.parent) as scratch:
        written = Path(scratch) / "kafka.jsa"
        _run_once(Path(scratch), written)
        if written.exists():
            written.replace(archive)


def _run_once(scratch: Path, written: Path) -> None:
    with ExitStack() as cleanup:
        leases = [lease_port(), lease_port()]
        for lease in leases:
            cleanup.callback(lease.release)
        spec = broker_spec(scratch / "data", leases[0].port, leases[1].port, scratch / "kafka.log")
        java, *rest = spec.argv
        spec = ProcessSpec(
            name="kafka",
            argv=[java, f"-XX:ArchiveClassesAtExit={written}", *rest],
            log_path=spec.log_path,
            ready=spec.ready,
            stop_timeout_s=120.0,
            restart=False,
        )
        supervisor = Supervisor()
        cleanup.callback(supervisor.stop_all)
        supervisor.start(spec)
        supervisor.wait_ready("kafka")


def _say(line: str) -> None:
    sys.stderr.write(f"headrace: {line}\n")


def main() -> None:
    """Prepare, and end with one line when that fails."""
    try:
        prepare()
    except StackError as error:
        sys.exit(f"headrace: {error}")


if __name__ == "__main__":
    main()
