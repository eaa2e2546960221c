"""What a run on a Flink cluster came to: consumes counts, produces figures and a verdict."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from infra.bench.chaos.copies import Copies
from infra.bench.chaos.storm import Sent
from infra.bench.chaos.traffic import Nature
from infra.bench.flink.plan import TASKMANAGER, FlinkPlan

BACK_WITHIN_S: Final = 20.0
"""How soon after a TaskManager's death output is to go on."""


@dataclass
class Outcome:
    """The figures of a run. `clean` is None when it was given up before the check: `stalled` says why."""

    plan: FlinkPlan
    sent: Sent = field(default_factory=lambda: Sent(Copies(0)))
    clean: Copies | None = None
    dead: Copies | None = None
    reasons: Counter[str] = field(default_factory=Counter)
    back_s: Sequence[tuple[str, float]] = ()
    restarts: Mapping[str, int] = field(default_factory=dict)
    faults: int = 0
    seconds: float = 0.0
    stalled: str = ""

    def compared(self) -> dict[str, tuple[Copies, Copies]]:
        """Return by topic what was sent to it and what is there."""
        if self.clean is None or self.dead is None:
            return {}
        bad = Copies(self.sent.natures[Nature.BAD])
        for number in range(len(bad.seen)):
            bad.add(str(number))
        return {"clean": (self.sent.events, self.clean), "dead": (bad, self.dead)}

    def shortcomings(self) -> list[str]:
        """Say what is wrong; an empty list is success."""
        found = [self.stalled] if self.stalled else []
        if self.faults < self.plan.faults:
            found.append(f"only {self.faults} of {self.plan.faults} faults happened")
        for place, (sent, there) in self.compared().items():
            for what, numbers in (("lost", there.lost(sent)), ("doubled", there.doubled())):
                if numbers:
                    found.append(f"{len(numbers):,} {what} in {place}: {numbers[:10]}")
            if unsent := there.unsent(sent):
                found.append(f"{len(unsent)} in {place} that nobody sent: {unsent[:10]}")
        late = [seconds for process, seconds in self.back_s if process == TASKMANAGER]
        if late and max(late) > BACK_WITHIN_S:
            found.append(
                f"output went on {max(late):.1f} s after a TaskManager's death, goal {BACK_WITHIN_S:.0f} s"
            )
        return found

    def as_json(self) -> dict[str, Any]:
        """Return the figures; without a comparison lost and doubled are null."""
        compared = self.compared()
        return {
            "sent": self.sent.distinct,
            "copies": self.sent.copies,
            "bad": self.sent.natures[Nature.BAD],
            "rejected": dict(self.reasons),
            "faults": self.faults,
            "lost": {place: len(there.lost(sent)) for place, (sent, there) in compared.items()} or None,
            "doubled": {place: len(there.doubled()) for place, (_, there) in compared.items()} or None,
            "back_s": [{"process": process, "seconds": seconds} for process, seconds in self.back_s],
            "restarts": dict(self.restarts),
            "seconds": round(self.seconds, 1),
            "parallelism": self.plan.parallelism,
            "seed": self.plan.seed,
            "stalled": self.stalled,
        }


def summary(outcome: Outcome) -> RenderableType:
    """Draw the figures as tables, with the verdict below."""
    places = Table("topic", "sent", "there", "lost", "doubled", title="read committed", title_justify="left")
    for place, (sent, there) in outcome.compared().items():
        counts = (sent.distinct, there.distinct, len(there.lost(sent)), len(there.doubled()))
        places.add_row(place, *(f"{count:,}" for count in counts))
    back = Table("killed", "output goes on after, s", title="faults", title_justify="left")
    for process in dict.fromkeys(process for process, _ in outcome.back_s):
        times = sorted(seconds for name, seconds in outcome.back_s if name == process)
        back.add_row(process, ", ".join(f"{seconds:.1f}" for seconds in times))
    wrong = outcome.shortcomings()
    verdict = Text(
        "\n".join(wrong) or "nothing lost, nothing doubled", style="bold red" if wrong else "bold green"
    )
    return Group(places, back, verdict)
