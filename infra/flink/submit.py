"""Submits jobs by Flink's own client: consumes a job's module and options, produces Flink's id of it."""

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from infra.flink.bridge import ensure_bridge
from infra.flink.errors import FlinkError
from infra.flink.jars import KAFKA_CONNECTOR, ensure_jar
from infra.flink.layout import QUICK_START, Layout, flink_package, lay_out, require_java
from infra.flink.package import pack

_SUBMITTED = re.compile(r"Job has been submitted with JobID ([0-9a-f]{32})")


@dataclass(frozen=True)
class Submission:
    """What to run, and from where it goes on.

    Attributes:
        module: a Python module of ours with a `main`.
        parallelism: parallel tasks of each part.
        arguments: the module's own.
        savepoint: a savepoint's or retained checkpoint's path; empty: the job begins anew.
        interpreter: the workers' Python; empty: what the cluster is configured with.
    """

    module: str
    parallelism: int
    arguments: Sequence[str] = ()
    savepoint: str = ""
    interpreter: str = ""


def client_argv(layout: Layout, address: str, code: Path, bridge: Path, job: Submission) -> list[str]:
    """Return the client's command; it detaches once the cluster has taken the job.

    `code` is the folder of the job's Python modules, `bridge` the jar of its part in Java; both go with it.

    Raises:
        FlinkError: the address is no http address of a host and port.
    """
    place = urlsplit(address)
    if place.scheme != "http" or not place.hostname or not place.port:
        raise FlinkError(f"{address!r} is no address of a cluster; write it as http://HOST:PORT")
    argv = layout.script("flink", "run", "-d", "-m", f"{place.hostname}:{place.port}")
    argv += ["-p", str(job.parallelism), *(["-s", job.savepoint] if job.savepoint else [])]
    argv += [*(["-pyexec", job.interpreter] if job.interpreter else []), "-pyfs", str(code)]
    argv += ["-j", str(bridge)]
    return [*argv, "-pym", job.module, "--parallelism", str(job.parallelism), *job.arguments]


def submit(folder: Path, address: str, job: Submission) -> str:
    """Submit a job from the client's own folder and return Flink's id of it.

    The client has a configuration of its own: with the cluster's it would ask ZooKeeper and not the address.

    Raises:
        FlinkError: the cluster did not take it; the message carries what the client said last.
        StackError: Flink or Java is not installed.
    """
    require_java()
    layout = Layout(flink_package(), folder)
    python = next((layout.flink / "opt").glob("flink-python-*.jar"))
    place = urlsplit(address)
    settings = {
        "rest.address": str(place.hostname),
        "rest.port": str(place.port),
        "env.java.opts.client": QUICK_START,
    }
    lay_out(layout, settings, lib=[ensure_jar(KAFKA_CONNECTOR), python])
    code = pack([job.module], folder / "code")
    argv = client_argv(layout, address, code, ensure_bridge(), job)
    done = subprocess.run(
        argv, env=_environment(layout), capture_output=True, text=True, check=False, cwd=folder
    )
    found = _SUBMITTED.search(done.stdout)
    if done.returncode != 0 or found is None:
        raise FlinkError(f"the cluster did not take {job.module}: {told(done.stdout + done.stderr)}")
    return found[1]


def told(output: str, lines: int = 12) -> str:
    """Return what of the client's output says why: Python's last error, else the innermost Java cause."""
    lines_of = (line for line in output.splitlines() if "Python process exits with code" not in line)
    kept = [line for line in lines_of if not line.lstrip().startswith("at ")]
    causes = [line.strip() for line in kept if line.startswith("Caused by: ")]
    python = [
        line.strip() for line in kept if re.match(r"(: )?[\w.]+(Error|Exception|Rejected|Fatal|Exit): ", line)
    ]
    if python or causes:
        return (python or causes)[-1].removeprefix("Caused by: ").removeprefix(": ")
    return "\n" + "\n".join(kept[-lines:])


def _environment(layout: Layout) -> dict[str, str]:

    return {**os.environ, **layout.environment()}
