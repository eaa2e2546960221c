"""`headrace bench gateway` and `headrace bench fuzz`: what protection costs, and what rubbish does."""

from typing import Annotated

import typer

from infra.figures import write_figures

JsonOption = Annotated[
    str, typer.Option("--json", help="Write the figures as JSON to this file; - for standard output.")
]


def register(group: typer.Typer) -> None:
    """Add the commands to the group."""
    group.command("gateway")(gateway)
    group.command("fuzz")(fuzz)


def gateway(
    rounds: Annotated[int, typer.Option(min=1, help="Of each system, in turn.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.5, help="Of each round.")] = 5.0,
    connections: Annotated[int, typer.Option(min=1, max=1000, help="Kept open, one request each.")] = 64,
    json: JsonOption = "",
) -> None:
    """Compare a no-op behind the gateway's door with a plain FastAPI no-op, in the same run.

    fastapi is the no-op alone; open is the gateway's edge and guard without keys; key and jwt ask for a key
    or an HS256 token, count every request by a token bucket in a Redis of its own, and audit it. One process
    each, one core; the generator takes another.
    """
    from infra.bench.gateway.speed import measure, report

    figures = measure(
        rounds=rounds,
        seconds=seconds,
        connections=connections,
        say=lambda line: typer.echo(typer.style(line, dim=True), err=True),
    )
    typer.echo(report(figures), err=json == "-")
    write_figures(figures, json)


def fuzz(
    requests: Annotated[int, typer.Option(min=1, help="How many malformed requests.")] = 100_000,
    seed: Annotated[int, typer.Option(help="The same seed makes the same requests.")] = 1,
    json: JsonOption = "",
) -> None:
    """Send malformed events and labels through the whole application: each must be answered by a 4xx.

    Broken and truncated JSON, wrong types, missing and unknown fields, invalid UTF-8, a hundred thousand
    levels of nesting, random bytes and odd headers, in pieces, some without an end.

    Exit status 1 if anything else was answered, or reached Kafka's place.
    """
    from infra.bench.gateway.fuzz import fuzz as run
    from infra.runtime import log

    log.configure("fuzz", level="error")
    outcome = run(seed, requests)
    figures = outcome.figures()
    answered = ", ".join(f"{count:,} × {status}" for status, count in figures["statuses"].items())
    line = f"{outcome.requests:,} malformed requests in {outcome.seconds:.0f} s: {answered}"
    typer.echo(f"{line}; {outcome.fault_count} faults, {outcome.published} published", err=json == "-")
    for fault in outcome.faults:
        typer.echo(
            f"  {fault['number']}: {fault['kind']} answered {fault['status']}: {fault['why']}", err=True
        )
    write_figures(figures, json)
    raise typer.Exit(0 if outcome.right else 1)
