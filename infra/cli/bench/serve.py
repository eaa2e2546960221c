"""`headrace bench serve`: one model behind Headrace's gateway and behind its peers, asked the same way."""

from pathlib import Path
from typing import Annotated

import typer

from infra.bench.serve.plan import Scenario, ServePlan
from infra.figures import write_figures

ScenarioOption = Annotated[
    Scenario,
    typer.Option(
        help="minilm: MiniLM INT8, no text twice; cached: texts repeated as masked log lines are; "
        "sensor: a small perceptron; null: peers serve nothing."
    ),
]
SystemsOption = Annotated[
    str,
    typer.Option(
        help="Only these, with commas: session, headrace, fastapi, mosec, litserve, bentoml, ray_serve, "
        "mlserver."
    ),
]
ConcurrencyOption = Annotated[str, typer.Option(help="Requests under way at once, with commas.")]
SecondsOption = Annotated[float, typer.Option(min=0.2, help="Seconds at each concurrency, in each round.")]
HomeOption = Annotated[
    Path, typer.Option(help="The benchmark's own folder: the model, the peers' environments, logs.")
]


def register(group: typer.Typer) -> None:
    """Add the command to the group."""
    group.command("serve")(serve)


def serve(
    scenario: ScenarioOption = Scenario.MINILM,
    systems: SystemsOption = "",
    concurrency: ConcurrencyOption = "1,16,64",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; each runs every system once.")] = 3,
    seconds: SecondsOption = 5.0,
    home: HomeOption = Path(".headrace/bench-serve"),
    json: Annotated[
        str, typer.Option("--json", help="Write the figures as JSON to this file; - for standard output.")
    ] = "",
) -> None:
    """Compare request serving with BentoML, Ray Serve, LitServe, Mosec, MLServer and plain FastAPI.

    Every system serves the same ONNX model, one row a request, and may answer as
    many rows at once as there are cores, each on one thread. Headrace's gateway
    is asked by the Open Inference Protocol v2 over REST, in a stack of its own;
    "session" is the model without any server, which is what they can reach. One
    load generator asks all, over connections that stay open; rounds are
    interleaved. The first answers at each concurrency are compared with what the
    model says of each row alone.

    Peers are installed on first use, locked, in environments of their own (uv).
    One that cannot be installed or fails is said and left out, and the exit
    status is 1.

    A look that takes a minute: headrace bench serve --systems session,headrace,fastapi --rounds 1 --seconds 2
    """
    from infra.bench.serve.figures import table
    from infra.bench.serve.run import compare
    from infra.runtime import log

    log.configure("bench", level="error")
    plan = ServePlan(home.absolute(), scenario, _chosen(systems), _levels(concurrency), rounds, seconds)
    figures = compare(plan, lambda line: typer.echo(line, err=True))
    typer.echo(table(figures), err=json == "-")
    write_figures(figures, json)
    if figures["failed"]:
        raise typer.Exit(1)


def _chosen(names: str) -> tuple[str, ...]:
    from infra.bench.serve.systems import NAMES

    chosen = tuple(dict.fromkeys(name.strip() for name in names.split(",") if name.strip())) or NAMES
    unknown = [name for name in chosen if name not in NAMES]
    if unknown:
        raise typer.BadParameter(
            f"{', '.join(unknown)}: there are {', '.join(NAMES)}", param_hint="--systems"
        )
    return chosen


def _levels(text: str) -> tuple[int, ...]:
    try:
        levels = tuple(dict.fromkeys(int(level) for level in text.split(",")))
    except ValueError:
        levels = ()
    if not levels or not all(1 <= level <= 1024 for level in levels):
        raise typer.BadParameter(
            f"{text!r}: give numbers from 1 to 1024, with commas", param_hint="--concurrency"
        )
    return levels
