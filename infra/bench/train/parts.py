"""The parts of `headrace bench train`: each consumes what was asked for, produces figures and a verdict."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from schemas.errors import Fatal

if TYPE_CHECKING:
    from rich.console import Console

_FASTER: Final = 3.0
"""What INT8 has to be times as fast as eager torch, on a short line."""


class Part(StrEnum):
    """What is measured."""

    GATE = "gate"
    LOOP = "loop"
    FORGETTING = "forgetting"
    RECURRING = "recurring"
    COMPRESSION = "compression"


@dataclass(frozen=True)
class Plan:
    """What was asked for. `data` is the folder of real data sets, which two parts need."""

    home: Path
    console: "Console"
    seeds: int
    text_seeds: int
    rounds: int
    rate: float
    rows: int
    seed: int
    data: Path | None

    def folder(self) -> Path:
        """Return where the real data lie.

        Raises:
            Fatal: nobody said.
        """
        if self.data is None:
            raise Fatal(
                "--data (or HEADRACE_DATA) names the folder with clinc150, gas_sensor_drift, http_params"
            )
        return self.data


Measured = tuple[dict[str, Any], bool]
"""The figures of a part, under names of its own, and whether they reach what is promised."""


def gate(plan: Plan) -> Measured:
    """Plant bad and good candidates, and see what the gate makes of them."""
    import torch

    from infra.bench.train.gate import Attempt, run, worlds
    from infra.bench.train.tables import planted

    torch.set_num_threads(1)

    def tell(one: Attempt) -> None:
        done = "[green]released[/]" if one.released else "[red]rejected[/]"
        plan.console.print(f"{one.world} {one.seed}, {one.kind}: {done}, {one.reasons[0]}", soft_wrap=True)

    figures = run(plan.home, worlds(plan.home, plan.seeds, plan.text_seeds), tell)
    plan.console.print(planted(figures))
    bad, good = figures["planted"], figures["good"]
    told = {"gate": figures, "planted": bad, "good": good}
    return told, not bad["released"] and good["released"] == good["tried"]


def loop(plan: Plan) -> Measured:
    """Let the traffic of the whole live system drift, and wait for the new model's answers."""
    from infra.bench.train.loop import Round, run
    from infra.bench.train.tables import rounds

    def tell(one: Round) -> None:
        for reason in one.falls_short:
            plan.console.print(f"seed {one.seed} fell short: {reason}", soft_wrap=True)

    figures = run(plan.home, plan.rounds, plan.rate, plan.seed, tell)
    plan.console.print(rounds(figures))
    serving = figures["seconds"]["drift_to_serving"]
    told = {"loop": figures, "seconds": {"drift_to_serving": serving}}
    return told, not figures["lost"] and not figures["doubled"] and serving is not None


def forgetting(plan: Plan) -> Measured:
    """Let classes and drifts arrive in five increments, and see what is lost of the old."""
    import torch

    from infra.bench.train.arriving import gases, intents
    from infra.bench.train.forgetting import GOAL, Course, run
    from infra.bench.train.tables import lost

    torch.set_num_threads(1)
    data = plan.folder()
    streams = [
        *(intents(data, seed) for seed in range(1, plan.text_seeds + 1)),
        *(gases(data, seed) for seed in range(1, plan.seeds + 1)),
    ]

    def tell(one: Course) -> None:
        points, right = f"{one.forgetting:+.2f} points forgotten", f"{one.accuracy:.2f} % right at the end"
        told = f"{one.task} {one.seed}, {one.variant}: {points}, {right}, {one.released} of 5 released"
        plan.console.print(told, soft_wrap=True)

    figures = run(plan.home, streams, tell)
    plan.console.print(lost(figures))
    arriving = {name: figures[name] for name in ("tasks", "courses")}
    return {"forgetting": figures["forgetting"], "arriving": arriving}, figures["forgetting"] <= GOAL


def recurring(plan: Plan) -> Measured:
    """Let concepts leave and return, and see whether their model is brought back."""
    import torch

    from infra.bench.train.recurring import Return, run

    torch.set_num_threads(1)

    def tell(one: Return) -> None:
        made = f"version {one.version} serves" if one.released else "rejected"
        plan.console.print(f"{one.kind} {one.seed}, recall {one.recall}: {made} after {one.seconds:.2f} s")

    figures = run(plan.home, plan.seeds, plan.text_seeds, tell)
    for kind, found in figures["recurring"].items():
        seconds = f"{found['recalled_s']:.2f} s where {found['trained_s']:.2f} s were trained"
        plan.console.print(f"{kind}: {found['brought_back']} of {found['returns']} brought back, {seconds}")
    whole = all(one["brought_back"] == one["returns"] for one in figures["recurring"].values())
    return figures, whole


def compression(plan: Plan) -> Measured:
    """Make every variant of a model of requests and of one of intents, and measure them."""
    import torch

    from infra.bench.train.compression import run
    from infra.bench.train.tables import variants

    torch.set_num_threads(1)
    data = plan.folder()
    files = [data / "http_params" / "payload_train.csv", data / "clinc150" / "five_domains.json"]
    figures = run(plan.home, files, plan.rows, plan.console.print)
    for name, task in figures["tasks"].items():
        plan.console.print(variants(name, task))
        plan.console.print(f"p50 of a short line, ms: {task['short_lines_p50_ms']}; {task['ratios']}")
    told = {
        "compression": figures["compression"],
        "ratios": figures["ratios"],
        "compressed": figures["tasks"],
    }
    ratios = [task["ratios"]["int8_over_torch"] for task in figures["tasks"].values()]
    return told, min(ratios) >= _FASTER


MEASURE: Final[dict[Part, Callable[[Plan], Measured]]] = {
    Part.GATE: gate,
    Part.LOOP: loop,
    Part.FORGETTING: forgetting,
    Part.RECURRING: recurring,
    Part.COMPRESSION: compression,
}
