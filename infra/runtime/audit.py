"""The audit: what changed something or was refused in, records of `audit` out, once a second.

What Kafka does not take goes to `WORKER-audit.jsonl` in the data folder, so that an outage leaves no gap.
"""

import asyncio
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import msgspec

from infra.runtime import metrics
from infra.runtime.clock import Clock
from infra.runtime.log import get_logger
from schemas import codec, topics
from schemas.audit import Audit
from schemas.record import Coordinates, Outgoing

FILE: Final = "{worker}-audit.jsonl"
_EVERY_S: Final = 1.0
_SEND_WITHIN_S: Final = 10.0
_MOST: Final = 20_000
_log = get_logger(__name__)


class Sink(Protocol):
    """What takes the records: `infra.runtime.kafka.produce.Publisher`."""

    async def send_all(self, records: Sequence[Outgoing]) -> list[Coordinates]:
        """Publish records and return their coordinates, in order, once all are acknowledged."""
        ...


class Trail:
    """Gathers a worker's records and sends them on. `sink` is Kafka's publisher."""

    def __init__(self, sink: Sink, home: Path, clock: Clock, worker: str = "gateway") -> None:
        self._sink = sink
        self._file = home / FILE.format(worker=worker)
        self._named = worker
        self._clock = clock
        self._done: list[Audit] = []
        self._refused: dict[tuple[str, str, int, str, str], Audit] = {}
        self._worker: asyncio.Task[None] | None = None

    def done(
        self, who: str, action: str, *, status: int = 0, request_id: str = "", address: str = ""
    ) -> None:
        """Note a request that changed something."""
        self._done.append(
            Audit(
                at=self._clock.now(),
                who=who,
                action=action,
                outcome="done",
                status=status,
                request_id=request_id,
                address=address,
            )
        )
        self._bound()

    def refused(
        self, who: str, action: str, *, status: int, request_id: str, address: str, detail: str = ""
    ) -> None:
        """Note a request that was refused; alike ones of one second are one record."""
        alike = (who, action, status, address, detail)
        first = self._refused.get(alike)
        if first is not None:
            self._refused[alike] = msgspec.structs.replace(first, count=first.count + 1)
            return
        self._refused[alike] = Audit(
            at=self._clock.now(),
            who=who,
            action=action,
            outcome="failed" if status >= 500 else "refused",
            status=status,
            request_id=request_id,
            address=address,
            detail=detail,
        )
        self._bound()

    def changed(self, action: str, outcome: str, detail: str) -> None:
        """Note what the worker did by itself, such as taking over other settings."""
        self._done.append(
            Audit(at=self._clock.now(), who=self._named, action=action, outcome=outcome, detail=detail)
        )

    def start(self) -> None:
        """Begin to send."""
        self._worker = asyncio.create_task(self._send(), name=f"{self._named}-audit")

    async def stop(self) -> None:
        """Send what is left and end."""
        if self._worker is not None:
            self._worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):  # that is how it ends
                await self._worker
        await self.flush()

    async def flush(self) -> None:
        """Send what was noted; what Kafka does not take in time goes to the file."""
        records = self._gathered()
        if not records:
            return
        outgoing = [
            Outgoing(topics.AUDIT.name, record.who.encode(), codec.encode(record)) for record in records
        ]
        try:
            async with asyncio.timeout(_SEND_WITHIN_S):
                await self._sink.send_all(outgoing)
        except asyncio.CancelledError:
            self._keep(records, "stopped")
            raise
        except Exception as error:  # noqa: BLE001  # whatever broke, the records must be somewhere
            self._keep(records, str(error) or type(error).__name__)
        else:
            metrics.count_audit("published", len(records))

    async def _send(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            await self.flush()

    def _gathered(self) -> list[Audit]:
        records = [*self._done, *self._refused.values()]
        self._done, self._refused = [], {}
        return records

    def _bound(self) -> None:
        """Keep memory bounded while an earlier send still waits for Kafka."""
        if len(self._done) + len(self._refused) >= _MOST:
            self._keep(self._gathered(), "too many wait for Kafka")

    def _keep(self, records: Sequence[Audit], why: str) -> None:
        """Append to the file; where even that fails, the log has to say that there is a gap."""
        try:
            self._append(records)
        except OSError as error:
            _log.error("audit.lost", records=len(records), error=str(error), why=why)
            metrics.count_audit("lost", len(records))
            return
        _log.warning("audit.kept_in_file", records=len(records), why=why)
        metrics.count_audit("kept_in_file", len(records))

    def _append(self, records: Sequence[Audit]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with open(descriptor, "ab") as file:  # noqa: PTH123  # pathlib opens no descriptor
            file.write(b"".join(codec.encode(record) + b"\n" for record in records))
