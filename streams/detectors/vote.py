"""A vote over error bits: a drift is what several detectors of different kinds agree on.

ADWIN, HDDM_A and HDDM_W rest on different bounds and err at different moments; two that fire within a short
horizon are far rarer by chance than one (the idea of ensembles of detectors: B. I. F. Maciel et al., "A
lightweight concept drift detection ensemble", IEEE ICTAI 2015).
"""

from collections.abc import Sequence
from typing import Any, Final

from streams.detectors.adwin import Adwin
from streams.detectors.hddm_a import HddmA
from streams.detectors.hddm_w import HddmW
from streams.detectors.protocol import ErrorDetector

HORIZON: Final = 200


class Vote:
    """Detects an increase when `quorum` members did within `horizon` labels. Memory: that of its members."""

    def __init__(
        self,
        delta: float = 0.001,
        *,
        quorum: int = 2,
        horizon: int = HORIZON,
        members: Sequence[ErrorDetector] | None = None,
    ) -> None:
        # One fluctuation may deceive both HDDMs, whose bounds are of one kind: HDDM_A is the stricter one.
        default: list[ErrorDetector] = [Adwin(delta), HddmA(delta / 10.0), HddmW(delta)]
        self._members = list(members) if members else default
        self._empty = [m.snapshot() for m in self._members]
        self._quorum = quorum
        self._horizon = horizon
        self._start()

    def _start(self) -> None:
        for member, empty in zip(self._members, self._empty, strict=True):
            member.restore(empty)
        self._since: list[int | None] = [None] * len(self._members)  # labels since each member fired
        self._detected = False

    @property
    def drift_detected(self) -> bool:
        return self._detected

    def update(self, error: bool) -> None:  # noqa: FBT001  # the detector's one input
        if self._detected:
            self._start()
        since = self._since
        fired = False
        for number, member in enumerate(self._members):
            member.update(error)
            if member.drift_detected:
                since[number] = 0
                fired = True
            elif (age := since[number]) is not None:
                since[number] = age + 1 if age < self._horizon else None
        if fired:
            self._detected = sum(age is not None for age in since) >= self._quorum

    def snapshot(self) -> dict[str, Any]:
        return {
            "members": [member.snapshot() for member in self._members],
            "since": list(self._since),
            "detected": self._detected,
        }

    def restore(self, state: dict[str, Any]) -> None:
        for member, saved in zip(self._members, state["members"], strict=True):
            member.restore(saved)
        self._since = list(state["since"])
        self._detected = state["detected"]
