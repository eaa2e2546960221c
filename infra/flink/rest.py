"""Flink's REST interface: consumes a cluster's address, produces what its jobs do, and gives them orders."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Self

import httpx
import msgspec

from infra.flink.errors import FlinkError

ENDED: Final = frozenset({"FINISHED", "CANCELED", "FAILED", "SUSPENDED"})
"""States that a job does not leave by itself."""

_POLL_S: Final = 0.1
_HOPELESS: Final = 3  # failures before all tasks ever ran, after which a start has failed
_TIMEOUT_S: Final = 10.0


class Checkpoint(msgspec.Struct, frozen=True):
    """A completed checkpoint: how long it took, end to end, and how large it is."""

    id: int
    duration_ms: int
    size_bytes: int
    completed_ms: int


class Job(msgspec.Struct, frozen=True):
    """A job as the cluster sees it.

    Attributes:
        state: RUNNING, RESTARTING, FINISHED, FAILED and so on, in Flink's words.
        parallelism: of its widest part.
        restarts: how often it began anew since it was submitted.
        failed_checkpoints: since its JobManager started.
        cause: the newest failure, empty where there was none.
    """

    id: str
    name: str
    state: str
    parallelism: int
    restarts: int
    started_ms: int
    checkpoint: Checkpoint | None
    failed_checkpoints: int
    cause: str


class Rest:
    """A client of one cluster, to be closed; every call raises `FlinkError` where the cluster refuses."""

    def __init__(self, address: str, now: Callable[[], float] = time.monotonic) -> None:
        self.address = address.rstrip("/")
        self._now = now
        self._http = httpx.Client(base_url=self.address, timeout=_TIMEOUT_S, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def taskmanagers(self) -> list[dict[str, Any]]:
        """Return every TaskManager: `id`, `slots`, `free_slots`, `heartbeat_ms` (when it was last heard)."""
        return [
            {
                "id": found["id"],
                "slots": found["slotsNumber"],
                "free_slots": found["freeSlots"],
                "heartbeat_ms": found["timeSinceLastHeartbeat"],
            }
            for found in self._get("/taskmanagers")["taskmanagers"]
        ]

    def free_slots(self, wanted: int, timeout_s: float) -> int:
        """Return how many slots are free.

        A job that has just ended and a new TaskManager tell a moment later: fewer than `wanted` are asked for
        again until `timeout_s` have passed.
        """
        deadline = self._now() + timeout_s
        while True:
            free = sum(int(found["free_slots"]) for found in self.taskmanagers())
            if free >= wanted or self._now() > deadline:
                return free
            time.sleep(_POLL_S)

    def version(self) -> str:
        """Return the cluster's Flink version."""
        return str(self._get("/config")["flink-version"])

    def states(self) -> dict[str, str]:
        """Return every job's state by its id."""
        return {job["id"]: job["status"] for job in self._get("/jobs")["jobs"]}

    def jobs(self) -> list[Job]:
        """Return every job that the cluster still knows, the newest first."""
        found = [self.job(job, state) for job, state in self.states().items()]
        return sorted(found, key=lambda job: -job.started_ms)

    def job(self, job: str, state: str) -> Job:
        """Return one job; `state` is the list's, since Flink answers the rest from a cache of seconds."""
        told = self._get(f"/jobs/{job}")
        counted = self._get(f"/jobs/{job}/checkpoints")
        failures = self._failures(job)
        return Job(
            id=job,
            name=told["name"],
            state=state,
            parallelism=max((vertex["parallelism"] for vertex in told["vertices"]), default=0),
            restarts=self._restarts(job),
            started_ms=told["start-time"],
            checkpoint=_checkpoint((counted.get("latest") or {}).get("completed")),
            failed_checkpoints=(counted.get("counts") or {}).get("failed", 0),
            cause=failures[0] if failures else "",
        )

    def wait_running(self, job: str, timeout_s: float) -> None:
        """Wait until every task of a job runs, or it finished.

        Raises:
            FlinkError: it failed, or its tasks do not all run in time; the message carries the cause.
        """
        deadline = self._now() + timeout_s
        while True:
            told, failures = self._get(f"/jobs/{job}"), self._failures(job)
            states = {vertex["status"] for vertex in told["vertices"]}
            if told["state"] == "FINISHED" or (
                told["state"] == "RUNNING" and states <= {"RUNNING", "FINISHED"}
            ):
                return
            if told["state"] in ENDED or len(failures) >= _HOPELESS or self._now() > deadline:
                cause = failures[0] if failures else f"no cause was told within {timeout_s:.0f} s"
                raise FlinkError(f"job {job} is {told['state']} and does not run all its tasks: {cause}")
            time.sleep(_POLL_S)

    def savepoint(self, job: str, folder: str, timeout_s: float) -> str:
        """Write a savepoint of a running job and return its path; `folder` empty: where the cluster says."""
        return self._savepoint(f"/jobs/{job}/savepoints", {"cancel-job": False}, job, folder, timeout_s)

    def stop(self, job: str, folder: str, timeout_s: float, *, drain: bool = False) -> str:
        """Stop a job with a savepoint and return its path.

        Drained, it gets the watermark of the end first and gives up what waits, which else the savepoint has.
        """
        path = self._savepoint(f"/jobs/{job}/stop", {"drain": drain}, job, folder, timeout_s)
        self.wait_ended(job, timeout_s)
        return path

    def _savepoint(
        self, where: str, order: Mapping[str, Any], job: str, folder: str, timeout_s: float
    ) -> str:
        asked = {**order, **({"targetDirectory": folder} if folder else {})}
        request = self._ask("POST", where, json=asked)["request-id"]
        deadline = self._now() + timeout_s
        while True:
            told = self._get(f"/jobs/{job}/savepoints/{request}")
            if told["status"]["id"] == "COMPLETED":
                break
            if self._now() > deadline:
                raise FlinkError(
                    f"the savepoint of job {job} was not there after {timeout_s:.0f} s and may still come:"
                    " see `headrace flink status`, or ask again with a longer --within"
                )
            time.sleep(_POLL_S)
        operation = told["operation"]
        if "failure-cause" in operation:
            raise FlinkError(
                f"the savepoint of job {job} failed: {_cause(operation['failure-cause']['stack-trace'])};"
                " the job goes on as before"
            )
        return str(operation["location"])

    def cancel(self, job: str) -> None:
        """End a job without a savepoint: what came after its last checkpoint is as if it had not been."""
        self._ask("PATCH", f"/jobs/{job}", params={"mode": "cancel"})

    def wait_ended(self, job: str, timeout_s: float) -> None:
        """Wait until a job has ended.

        Raises:
            FlinkError: it did not in time.
        """
        deadline = self._now() + timeout_s
        while self.states().get(job) not in {*ENDED, None}:
            if self._now() > deadline:
                raise FlinkError(f"job {job} did not end in {timeout_s:.0f} s: see `headrace flink status`")
            time.sleep(_POLL_S)

    def _failures(self, job: str) -> list[str]:
        """Return the causes of a job's failures that the cluster remembers, the newest first."""
        entries = self._get(f"/jobs/{job}/exceptions")["exceptionHistory"]["entries"]
        return [_cause(entry["stacktrace"]) for entry in entries]

    def _restarts(self, job: str) -> int:
        """Ask for the metric; a cluster that has just come back may not have it yet."""
        found = self._ask("GET", f"/jobs/{job}/metrics", params={"get": "numRestarts"})
        return int(float(found[0]["value"])) if found else 0

    def _get(self, path: str) -> dict[str, Any]:
        found: dict[str, Any] = self._ask("GET", path)
        return found

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        try:
            answer = self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            raise FlinkError(
                f"no Flink cluster answers at {self.address} ({type(error).__name__}): start one with"
                " `headrace flink up`, or name another with --address"
            ) from error
        if answer.is_success:
            return answer.json()
        raise FlinkError(f"Flink refuses {method} {path}: {_refusal(answer)}")


def _refusal(answer: httpx.Response) -> str:
    """Return the telling line of an error that Flink answers with."""
    try:
        errors = answer.json()["errors"]
    except (ValueError, KeyError):
        return f"status {answer.status_code}"
    return _cause(str(errors[-1])) if errors else f"status {answer.status_code}"


def _cause(stacktrace: str) -> str:
    """Return the innermost cause of a Java stack trace: what comes before it only passed it on."""
    causes = [line for line in stacktrace.splitlines() if line.strip().startswith("Caused by: ")]
    lines = stacktrace.strip().splitlines() or [""]
    return (causes[-1] if causes else lines[0]).strip().removeprefix("Caused by: ")


def _checkpoint(found: Mapping[str, Any] | None) -> Checkpoint | None:
    if found is None:
        return None
    return Checkpoint(
        id=found["id"],
        duration_ms=found["end_to_end_duration"],
        size_bytes=found["state_size"],
        completed_ms=found["latest_ack_timestamp"],
    )
