"""The order of the demo: consumes a running system, a feed and a watch, produces its phases.

The system notices, learns and swaps by itself. Every wait has a deadline, and one that passes says where
the loop stuck and where the log of the worker in question lies.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from infra.demo.display import Display
from infra.demo.feed import Feed
from infra.demo.ledger import Ledger
from infra.demo.moments import Moments
from infra.demo.plan import Plan
from infra.demo.sender import Sender
from infra.demo.snapshot import Snapshot, Snapshots
from infra.demo.traffic import DRIFTED, Traffic
from infra.demo.watch import Watch
from schemas.drift import DriftAlert, Response
from schemas.errors import HeadraceError
from schemas.release import Release, State, Swap, Transition

T = TypeVar("T")

_LOOK_S: Final = 0.1
_STUCK_S: Final = 25.0
_PACE_S: Final = 1.0
_BEHIND_S: Final = 5.0
_CAUGHT_UP_S: Final = 2.0


class StuckError(HeadraceError):
    """The loop did not go on in time; the message says at which step, and where to look."""


@dataclass
class Conductor:
    """Leads a run through its phases and notes its moments."""

    plan: Plan
    display: Display
    ledger: Ledger
    watch: Watch
    sender: Sender
    moments: Moments
    clock: Callable[[], float]
    phase: str = "set-up"

    def __post_init__(self) -> None:
        self._snapshots = Snapshots(self.ledger, self.watch)
        self._paced: Traffic | None = None
        self._paced_at = 0.0

    async def generator(self, traffic: Traffic) -> None:
        """Baseline, drift, then what the system makes of it, until the new model has answered enough."""
        lengths = self.plan.phases
        await self._serving()
        self._paced = traffic
        playing = self._begin(traffic)
        try:
            self._enter("baseline", "shop traffic and SQL injection")
            await self._last(lengths.baseline_s, lambda: len(self.watch.answers) >= lengths.baseline_answers)
            await self._learning(traffic)
            self._enter("after", "the new model answers")
            await self._last(lengths.after_s, lambda: self._new_answers() >= lengths.after_answers)
        except StuckError:
            playing.cancel()
            await self._drain(traffic)  # what was acknowledged is reckoned all the same
            raise
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
        await self._drain(traffic)

    async def _learning(self, traffic: Traffic) -> None:
        """The loop itself: the traffic changes, and the system notices, learns and swaps."""
        lengths = self.plan.phases
        traffic.mix = DRIFTED
        self.moments.drift = time.time()
        self._enter("drift", "cross-site scripting, path traversal and command injection join")
        await self._until(lambda: self._alert() is not None, lengths.alert_deadline_s, "an alert", "drift")
        self.moments.alert = self._alerted().raised_at.timestamp()
        await self._until(
            lambda: self._release() is not None, lengths.release_deadline_s, "a release", "trainer"
        )
        self.moments.release = self._released().created_at.timestamp()
        await self._until(lambda: self._swap() is not None, lengths.swap_deadline_s, "the swap", "serving")
        self.moments.swap = self._swapped().swapped_at.timestamp()

    async def replay(self, feed: Feed, *, served: bool) -> None:
        """Send a recording to its end and note what follows. `served`: wait for a model first."""
        if served:
            await self._serving()
        playing = self._begin(feed)
        try:
            self._enter("baseline", f"replaying into `{self.plan.stream}`")
            while not playing.done():
                self._look()
                self._note_reactions()
                await asyncio.sleep(_LOOK_S)
            await playing
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)
        await self._drain(feed)
        self._note_reactions()

    def told(self, name: str, record: Any) -> None:
        """Tell the display of an alert, a release, a swap or a step of the trainer, as the watch sees it."""
        match record:
            case DriftAlert() if record.recovered:
                self.display.say(f"recovered: {record.summary}", "green")
            case DriftAlert():
                self.display.say(f"ALERT {record.stream} v{record.version}: {record.summary}", "bold red")
            case Release() if record.state is State.RELEASED:
                score = ", ".join(f"{key} {value:.3g}" for key, value in list(record.metrics.items())[:3])
                self.display.say(
                    f"released {record.model} v{record.version} {record.sha256[:12]} {score}", "magenta"
                )
            case Release():
                self.display.say(
                    f"{record.state} {record.model} v{record.version}: {'; '.join(record.reasons)}", "yellow"
                )
            case Swap() if record.outcome == "answered":
                places = ", ".join(f"{place} @ {offset}" for place, offset in record.first_offsets.items())
                self.display.say(f"{record.model} v{record.version} answers from {places}", "green")
            case Swap():
                style = "bold green" if record.outcome == "swapped" else "yellow"
                self.display.say(
                    f"{record.outcome} {record.model} v{record.version} in {record.load_ms:.0f} ms "
                    f"{record.message}",
                    style,
                )
            case Transition():
                self.display.say(
                    f"trainer, {record.model}: {record.previous} → {record.state} {record.message}", "cyan"
                )

    def _begin(self, feed: Feed) -> "asyncio.Task[None]":
        self.moments.began = time.time()
        return asyncio.create_task(self.sender.play(feed), name="demo-traffic")

    def _enter(self, phase: str, words: str) -> None:
        self.phase = self.sender.phase = phase
        self.display.say(f"── {phase}: {words}", "bold")

    def _look(self) -> None:
        snapshot = self._snapshots.take(self.phase, self.clock())
        self.display.show(snapshot)
        if self._paced is not None and time.monotonic() - self._paced_at > _PACE_S:
            self._paced_at = time.monotonic()
            self._pace(self._paced, snapshot)

    def _pace(self, traffic: Traffic, snapshot: Snapshot) -> None:
        """Slow down where answers fall seconds behind, so that a busy machine shows the loop as well."""
        wanted = self.plan.rate
        if snapshot.answers_behind > _BEHIND_S * wanted:
            if traffic.rate == wanted:
                words = f"{snapshot.answers_behind} answers behind: sending slower than {wanted:g}/s"
                self.display.say(words, "yellow")
            traffic.rate = max(0.1 * wanted, min(traffic.rate, 0.8 * snapshot.answer_rate))
        elif snapshot.answers_behind < _CAUGHT_UP_S * wanted and traffic.rate < wanted:
            traffic.rate = min(wanted, 1.1 * traffic.rate)

    async def _last(self, seconds: float, enough: Callable[[], bool]) -> None:
        """Stay in a phase for `seconds`, and on until there is enough, at the latest to its deadline."""
        entered = time.monotonic()
        while (passed := time.monotonic() - entered) < seconds or not enough():
            if passed > self.plan.phases.phase_deadline_s:
                raise StuckError(
                    f"{self.phase}: too few labelled answers came in {passed:.0f} s. {self._where('serving')}"
                )
            self._look()
            await asyncio.sleep(_LOOK_S)

    async def _until(self, reached: Callable[[], bool], deadline_s: float, what: str, worker: str) -> None:
        entered = time.monotonic()
        while not reached():
            if time.monotonic() - entered > deadline_s:
                raise StuckError(f"{what} did not come within {deadline_s:.0f} s. {self._where(worker)}")
            self._look()
            await asyncio.sleep(_LOOK_S)

    async def _serving(self) -> None:
        """Wait until the first model answers."""
        self.display.say("waiting until the first model serves")
        model = self.plan.stream
        await self._until(
            lambda: any(s.stream == model and s.outcome == "swapped" for s in self.watch.swaps),
            self.plan.phases.serving_deadline_s,
            "the first model in service",
            "serving",
        )

    async def _drain(self, feed: Feed) -> None:
        """Send what is still owed, then wait until every acknowledged event is selectable and answered."""
        self.phase = "drain"
        self.display.say("── drain: no new requests; waiting for what is on its way", "bold")
        await self.sender.finish(feed)
        deadline = time.monotonic() + self.plan.phases.drain_deadline_s
        missing, moved = -1, time.monotonic()
        while time.monotonic() < deadline:
            self._look()
            now_missing = self._missing()
            if now_missing == 0:
                return
            if now_missing != missing:
                missing, moved = now_missing, time.monotonic()
            elif time.monotonic() - moved > _STUCK_S:
                break
            await asyncio.sleep(_LOOK_S)
        self.display.say(f"{missing} events did not arrive everywhere in time", "bold red")

    def _missing(self) -> int:
        answers = self.watch.answers if self.answered else None
        return sum(
            identity not in self.watch.selectable_at or (answers is not None and identity not in answers)
            for identity in self.ledger.accepted()
        )

    @property
    def answered(self) -> bool:
        """Whether a model answers the watched stream at all."""
        return any(swap.stream == self.plan.stream and swap.outcome == "swapped" for swap in self.watch.swaps)

    def _note_reactions(self) -> None:
        """In a replay nobody knows when a drift begins: it is taken from the first alert."""
        alert, moments = self._alert(), self.moments
        if alert is not None and moments.alert is None:
            moments.drift, moments.alert = alert.since.timestamp(), alert.raised_at.timestamp()
            self._enter("drift", "as the first alert has it")
        if moments.alert is not None and moments.release is None and self._release() is not None:
            moments.release = self._released().created_at.timestamp()
        if moments.release is not None and moments.swap is None and self._swap() is not None:
            moments.swap = self._swapped().swapped_at.timestamp()
            self._enter("after", "the new model answers")

    def _alert(self) -> DriftAlert | None:
        """Return the first alert since the drift began that asks the trainer to learn."""
        since = self.moments.drift or 0.0
        return next(
            (
                alert
                for alert in self.watch.alerts
                if alert.stream == self.plan.stream
                and alert.response is not Response.ALERT
                and alert.raised_at.timestamp() >= since
                and not alert.recovered
            ),
            None,
        )

    def _release(self) -> Release | None:
        since = self.moments.alert or 0.0
        ours = (r for r in self.watch.releases if r.stream == self.plan.stream)
        return next((release for release in ours if release.created_at.timestamp() >= since), None)

    def _swap(self) -> Swap | None:
        release = self._release()
        found = (s for s in self.watch.swaps if s.stream == self.plan.stream and s.outcome == "swapped")
        return next((swap for swap in found if release is not None and swap.version >= release.version), None)

    def _alerted(self) -> DriftAlert:
        return _known(self._alert())

    def _released(self) -> Release:
        return _known(self._release())

    def _swapped(self) -> Swap:
        return _known(self._swap())

    def _new_answers(self) -> int:
        """How many labelled events the new model answered."""
        version = self._swapped().version
        return sum(
            answer.prediction.version >= version and self.ledger.events[identity].label_sent_at is not None
            for identity, answer in self.watch.answers.items()
            if identity in self.ledger.events
        )

    def _where(self, worker: str) -> str:
        steps = [f"{step.model} {step.state} {step.message}".strip() for step in self.watch.transitions[-1:]]
        last = f"The trainer's last step: {steps[0]}. " if steps else ""
        return f"{last}Logs: {self.plan.home / 'log' / (worker + '.log')}"


def _known(value: T | None) -> T:
    if value is None:
        raise StuckError("a record that was seen a moment ago is gone")
    return value
