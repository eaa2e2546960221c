"""`headrace bench devices`: which providers work here and why the others do not, and what they are worth."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infra.figures import write_figures

if TYPE_CHECKING:
    from rich.console import Console

    from infra.bench.devices.plan import DevicesPlan
    from serving.session import Providers


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command("devices")(devices)


def devices(  # noqa: PLR0917  # typer takes parameters as options, in any order
    release: Annotated[
        Path | None,
        typer.Option(help="A release folder of a text classifier; else one is trained, as for `serve`."),
    ] = None,
    probe: Annotated[bool, typer.Option("--probe", help="Only say which providers work.")] = False,
    batches: Annotated[str, typer.Option(help="Rows of a run, with commas.")] = "1,8,64",
    tokens: Annotated[int, typer.Option(min=2, max=512, help="Tokens of a timed row.")] = 16,
    seconds: Annotated[float, typer.Option(min=0.05, help="Seconds for each batch size.")] = 2.0,
    texts: Annotated[int, typer.Option(min=2, help="Texts whose answers are compared.")] = 300,
    steps: Annotated[
        int,
        typer.Option(min=0, help="Also tune the base on each device: epochs of so many steps; 0: do not."),
    ] = 0,
    home: Annotated[Path, typer.Option(help="Its own data folder; an earlier run's is emptied.")] = Path(
        ".headrace/bench-devices"
    ),
    json: Annotated[
        str, typer.Option("--json", help="Write the figures as JSON to this file; - for standard output.")
    ] = "",
) -> None:
    """Run one model in FP32, FP16 and INT8 on the CPU, on CUDA and on TensorRT, as far as they work here.

    For each graph on each provider: time and rate of runs of each size; the seconds to the first answer of a
    first and a second session (TensorRT keeps its engine in between); the share of texts answered as the CPU
    does in FP32, the largest differences of logits and of the label's probability, and how far a row's logits
    move in the company of others. CUDA is also asked in TF32, its own default, which serving does not use.
    The CPU gets one thread.

    --steps 150 also fine-tunes all weights of the base on the processor and on the GPU, with the trainer's
    own loop, and compares the exported graphs with what was tuned.

    Exit status 1 if a graph failed, or answers more than 2 % of the texts otherwise than the CPU in FP32.
    """
    from rich.console import Console

    from infra.runtime import log

    log.configure("bench", level="error")
    console = Console(stderr=json == "-", highlight=False, soft_wrap=True)
    if probe:
        found = _probed(console)
        write_figures({"usable": found.usable, "missing": found.missing}, json)
        return
    sizes = _sizes(batches)
    found = _probed(console)

    from infra.bench.devices.plan import DevicesPlan
    from infra.bench.devices.serving import right

    plan = DevicesPlan(home.absolute(), sizes, tokens, seconds, texts, steps)
    figures = _measured(release, plan, found, console)
    write_figures(figures, json)
    if not right(figures["serving"]):
        raise typer.Exit(1)


def _probed(console: "Console") -> "Providers":
    """Find out which providers work here, and say so."""
    from serving.session import providers

    found = providers()
    console.print(f"usable: {', '.join(found.usable)}")
    for name, reason in found.missing.items():
        console.print(f"not usable: {name}: {reason}", markup=False)
    return found


def _measured(
    release: Path | None, plan: "DevicesPlan", found: "Providers", console: "Console"
) -> dict[str, Any]:
    """Measure in an emptied folder, show the figures and return them."""
    from infra.bench.devices import tables
    from infra.bench.devices.plan import COMMAND, MARKER, trained
    from infra.bench.devices.run import measure
    from infra.local.workspace import claim

    def say(line: str) -> None:
        console.print(line, markup=False)

    folder = release or trained(plan.home.with_name(f"{plan.home.name}-model"), say)
    claim(plan.home, COMMAND, MARKER)
    figures = measure(folder, plan, found, say)
    console.print(tables.speed(figures["serving"]))
    console.print(tables.answers(figures["serving"]))
    if figures["training"]:
        console.print(tables.tuning(figures["training"]))
    return figures


def _sizes(text: str) -> tuple[int, ...]:
    """Read the sizes of runs."""
    try:
        sizes = tuple(dict.fromkeys(int(size) for size in text.split(",")))
    except ValueError:
        sizes = ()
    if not sizes or not all(1 <= size <= 4096 for size in sizes):
        raise typer.BadParameter(
            f"{text!r}: give numbers from 1 to 4096, with commas", param_hint="--batches"
        )
    return sizes
