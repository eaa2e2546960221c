"""What a run came to: consumes what was sent and the counts of each place, produces figures and a verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from infra.bench.chaos.check import Places
from infra.bench.chaos.copies import Copies
from infra.bench.chaos.plan import Fault, Plan
from infra.bench.chaos.storm import Sent
from infra.bench.chaos.traffic import Nature

_SHOWN: Final = 10
_AGREED: Final = ("clean", "warehouse", "predictions")


@dataclass(frozen=True)
class Happened:
    """A moment of the run, for its timeline."""

    at_s: float
    what: str


@dataclass(frozen=True)
class Outcome:
    """The figures of a run. `places` is None when it was given up before the check: `stalled` says why."""

    plan: Plan
    sent: Sent
    done: Sequence[Fault]
    seconds: float
    places: Places | None = None
    stalled: str = ""
    restarts: Mapping[str, int] = field(default_factory=dict)
    timeline: Sequence[Happened] = ()

    @property
    def kills(self) -> int:
        """Return how many processes were killed."""
        return sum(fault.what == "kill" for fault in self.done)

    def compared(self) -> dict[str, tuple[Copies, Copies]]:
        """Return by place what was sent to it and what is there."""
        if self.places is None:
            return {}
        bad = Copies(self.sent.natures[Nature.BAD])
        for number in range(self.sent.natures[Nature.BAD]):
            bad.add(str(number))
        events, places = self.sent.events, self.places
        return {
            "clean": (events, places.clean),
            "warehouse": (events, places.warehouse),
            "predictions": (events, places.predictions),
            "warehouse_predictions": (events, places.warehouse_predictions),
            "dead": (bad, places.dead),
            "warehouse_dead": (bad, places.warehouse_dead),
        }

    @property
    def lost(self) -> dict[str, list[int]]:
        """Return the numbers missing in each place."""
        return {name: there.lost(sent) for name, (sent, there) in self.compared().items()}

    @property
    def doubled(self) -> dict[str, list[int]]:
        """Return the numbers that each place has more than once."""
        return {name: there.doubled() for name, (_, there) in self.compared().items()}

    def shortcomings(self) -> list[str]:
        """Say what is wrong; an empty list is success."""
        found = [self.stalled] if self.stalled else []
        if len(self.done) < self.plan.kills + self.plan.rebalances:
            found.append(f"only {len(self.done)} of {self.plan.kills + self.plan.rebalances} faults happened")
        for what, by_place in (("lost", self.lost), ("doubled", self.doubled)):
            found += [
                f"{len(numbers):,} {what} in {place}: {', '.join(map(str, numbers[:_SHOWN]))}"
                + (" …" if len(numbers) > _SHOWN else "")
                for place, numbers in by_place.items()
                if numbers
            ]
        for place, (sent, there) in self.compared().items():
            if unsent := there.unsent(sent):
                found.append(f"{len(unsent)} in {place} that nobody sent: {', '.join(unsent[:_SHOWN])}")
        return found

    def as_json(self) -> dict[str, Any]:
        """Return the figures under their agreed names; without a comparison lost and doubled are null."""
        bad = self.sent.natures[Nature.BAD]
        return {
            "sent": self.sent.distinct,
            "kills": self.kills,
            "rebalances": len(self.done) - self.kills,
            "lost": {name: len(self.lost[name]) for name in _AGREED} if self.places else None,
            "doubled": {name: len(self.doubled[name]) for name in _AGREED} if self.places else None,
            "places": self._by_place(),
            "seed": self.plan.seed,
            "seconds": round(self.seconds, 1),
            "duplicates_sent": self.sent.copies,
            "duplicates_on_other_partitions": self.sent.natures[Nature.STRAY],
            "duplicates_dropped": self.duplicates_dropped,
            "bad_sent": bad,
            "rejected": dict(sorted(self.places.reasons.items())) if self.places else None,
            "restarts": dict(self.restarts),
            "timeline": [{"at_s": round(one.at_s, 2), "what": one.what} for one in self.timeline],
            "shortcomings": self.shortcomings(),
        }

    def _by_place(self) -> dict[str, dict[str, int]]:
        lost, doubled = self.lost, self.doubled
        return {
            place: {
                "sent": sent.distinct,
                "distinct": there.distinct,
                "lost": len(lost[place]),
                "doubled": len(doubled[place]),
            }
            for place, (sent, there) in self.compared().items()
        }

    @property
    def duplicates_dropped(self) -> int | None:
        """Return how many of the copies sent are not on `events.clean`."""
        if self.places is None:
            return None
        return self.sent.copies - (self.places.clean.total - self.places.clean.distinct)


def summary(outcome: Outcome) -> RenderableType:
    """Return the closing table and the verdict."""
    sent, plan = outcome.sent, outcome.plan
    facts = Table.grid(padding=(0, 2))
    facts.add_row(
        "sent",
        f"{sent.distinct:,} events, {sent.copies:,} copies "
        f"({sent.natures[Nature.STRAY]:,} of them on another partition), {sent.natures[Nature.BAD]:,} bad",
    )
    facts.add_row(
        "faults",
        f"{outcome.kills} × kill -9, {len(outcome.done) - outcome.kills} rebalances, seed {plan.seed}",
    )
    facts.add_row("took", f"{outcome.seconds:.0f} s")
    if outcome.duplicates_dropped is not None:
        facts.add_row("duplicates dropped", f"{outcome.duplicates_dropped:,} of {sent.copies:,}")
    table = Table(title="what came of it", title_justify="left", box=None, padding=(0, 2))
    table.add_column("place")
    for name in ("distinct", "lost", "doubled"):
        table.add_column(name, justify="right")
    lost, doubled = outcome.lost, outcome.doubled
    for place, (_, there) in outcome.compared().items():
        wrong = lost[place] or doubled[place]
        row = (place, f"{there.distinct:,}", f"{len(lost[place]):,}", f"{len(doubled[place]):,}")
        table.add_row(*row, style="bold red" if wrong else "")
    problems = outcome.shortcomings()
    verdict = (
        Text("\n".join(f"fell short: {problem}" for problem in problems), style="bold red")
        if problems
        else Text("nothing lost, nothing doubled, in any place", style="bold green")
    )
    return Group(Text(), facts, Text(), table, Text(), verdict)
