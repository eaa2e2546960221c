"""The fuzz run: malformed requests in, through the whole application; what was not answered by a 4xx out."""

import asyncio
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from infra.bench.gateway.inside import STREAMS, Memory, ask, gateway_over
from infra.bench.gateway.malformed import Malformed, requests
from schemas import topics
from serving.gateway.app import application

_SHOWN: Final = 20
# A thousand requests in a row leave the event loop no time: this program's doing, and nothing to shed.
_CONFIG: Final = f"{STREAMS}\n[gateway.limits]\nmax_lag = '1h'\n"


@dataclass
class Outcome:
    """What became of the requests. A fault is any answer but a 4xx; `published` is what got through."""

    seed: int
    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    by_kind: dict[str, Counter[int]] = field(default_factory=dict)
    faults: list[dict[str, Any]] = field(default_factory=list)
    fault_count: int = 0
    published: int = 0
    seconds: float = 0.0

    @property
    def right(self) -> bool:
        """Tell whether every request was refused, by the caller's fault, and none got through."""
        return not self.fault_count and not self.published

    def note(self, number: int, request: Malformed, status: int, why: str) -> None:
        """Count one answer."""
        self.requests += 1
        self.statuses[status] += 1
        self.by_kind.setdefault(request.kind, Counter())[status] += 1
        if not 400 <= status < 500:
            self.fault_count += 1
            if len(self.faults) < _SHOWN:
                body = b"".join(request.chunks)[:300].decode("latin-1")
                self.faults.append(
                    {"number": number, "kind": request.kind, "status": status, "why": why[:300], "body": body}
                )

    def figures(self) -> dict[str, Any]:
        """Return the outcome as the command prints it."""
        return {
            "requests": self.requests,
            "seed": self.seed,
            "faults": self.fault_count,
            "published": self.published,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "kinds": {
                kind: {str(status): count for status, count in sorted(found.items())}
                for kind, found in sorted(self.by_kind.items())
            },
            "first_faults": self.faults,
            "seconds": round(self.seconds, 1),
        }


def fuzz(seed: int, count: int) -> Outcome:
    """Send so many malformed requests, one after the other, and return what became of them."""
    return asyncio.run(run(seed, count))


async def run(seed: int, count: int) -> Outcome:
    """Do it, in the caller's event loop."""
    outcome = Outcome(seed)
    memory = Memory()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="headrace-fuzz-") as folder:
        async with gateway_over(memory, Path(folder), _CONFIG) as gateway:
            app = application(gateway)
            for number, request in enumerate(requests(seed, count)):
                status, why = await _status(app, request)
                outcome.note(number, request, status, why)
                if number % 1000 == 0:
                    await asyncio.sleep(0)  # the audit and the load meter run beside it
    outcome.published = sum(record.topic != topics.AUDIT.name for record in memory.records)
    outcome.seconds = time.monotonic() - began
    return outcome


async def _status(app: Any, request: Malformed) -> tuple[int, str]:
    """Return the answer's status and text; 0 if there was none."""
    try:
        answer = await ask(
            app, "POST", request.path, request.headers, request.chunks, broken_off=request.broken_off
        )
    except Exception as error:  # noqa: BLE001  # whatever comes through the edge is what is looked for
        return 0, repr(error)
    return answer.status, answer.body.decode(errors="replace")
