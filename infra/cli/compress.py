"""`headrace models compress`: consumes a release folder, shows what smaller and faster variants are worth."""

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.cli.promote import AsJson, Words
from schemas.errors import Fatal

if TYPE_CHECKING:
    from schemas.config import Gate
    from trainers.compression.run import Compressed
    from trainers.compression.variants import Wishes


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compress")(compress)


def compress(  # noqa: PLR0917 - typer gives options by name
    words: Words,
    int8_static: Annotated[bool, typer.Option(help="INT8 with fixed activation scales")] = True,
    fp16: Annotated[bool, typer.Option(help="half precision, for GPUs")] = True,
    prune: Annotated[float, typer.Option(min=0, max=0.9, help="share of heads and neurons to cut")] = 0.25,
    prune_weights: Annotated[float, typer.Option(min=0, max=0.95, help="share of weights to zero")] = 0.3,
    student_layers: Annotated[int, typer.Option(min=0, help="layers of a distilled student; 0: none")] = 3,
    calibration: Annotated[str, typer.Option(help="minmax, entropy or percentile")] = "minmax",
    epochs: Annotated[int, typer.Option(min=1, help="epochs of students and pruned encoders")] = 4,
    page: Annotated[Path | None, typer.Option(help="write an HTML page with a plot to this file")] = None,
    release: Annotated[
        bool, typer.Option(help="release the fastest that is good enough, if the gate lets it")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make variants of a text release and measure each: size, latency, throughput, quality.

    They are calibrated, tuned and measured on the rows that the release folder keeps. The best is the fastest
    that agrees with FP32 as the gate asks (`min_agreement`) and costs at most .4 points of accuracy and 2 of
    macro F1. With --release it goes through the gate against the release it was made of, as not worse, and
    becomes the next version; `headrace models promote` makes it serve.

        headrace models compress requests champion --student-layers 3 --page compress.html
    """
    import msgspec

    from infra.cli.announced import read_announced, resolve
    from infra.runtime import log, settings
    from schemas.config import Gate
    from trainers import folders
    from trainers.compression.run import compress as run

    log.configure("compress", level="error")  # to stderr: standard output is the answer's
    wanted = {
        "int8_static": int8_static, "fp16": fp16, "prune": prune, "prune_weights": prune_weights,
        "student_layers": student_layers, "calibration": calibration, "epochs": epochs,
    }  # fmt: skip
    home = settings.home()
    releases = home / "releases"
    model, versions = resolve(words, releases, lambda: read_announced(settings.load()))
    wishes = _wishes(wanted)
    folders.verify(releases, model, versions[0])
    gate = _gate(releases / model / str(versions[0])) or Gate()
    with tempfile.TemporaryDirectory(prefix="headrace-compress-") as scratch:
        done = run(releases / model / str(versions[0]), home, Path(scratch), wishes, gate, _tell)
        told = {"compression": {name: msgspec.to_builtins(each) for name, each in done.worth.items()}}
        said: dict[str, object] = {"model": model, "version": versions[0], "best": done.best, **told}
        if page is not None:
            from infra.compression_page import write

            write(page, f"{model} {versions[0]}", done.worth)
        if not as_json:
            _show(done)
        refused = _released(done, home, gate, said) if release else ""
    if as_json:
        typer.echo(json.dumps(said, indent=2))
    if refused:
        raise Fatal(refused)


def _wishes(wanted: dict[str, object]) -> "Wishes":
    """Return the wanted variants.

    Raises:
        Fatal: there is no such calibration.
    """
    import msgspec

    from trainers.compression.variants import Wishes

    try:
        return msgspec.convert(wanted, Wishes)
    except msgspec.ValidationError as error:
        raise Fatal(f"--calibration {wanted['calibration']}: choose minmax, entropy or percentile") from error


def _released(done: "Compressed", home: Path, gate: "Gate", said: dict[str, object]) -> str:
    """Put the best variant through the gate; return why there is no release, or nothing."""
    from trainers.compression.run import write_release

    if done.best == done.serves:
        return f"{done.best} is the best variant, and it is what {done.source.manifest.model} serves already"
    made, verdict = write_release(done, done.best, home, gate)
    said["released"] = made.version if made is not None else None
    said["reasons"] = list(verdict.reasons)
    if made is None:
        return f"the gate rejects {done.best}: {'; '.join(verdict.reasons)}"
    typer.echo(f"{made.model} {made.version} is released and serves {done.best} once promoted", err=True)
    return ""


def _gate(folder: Path) -> "Gate | None":
    """Return the gate that the release went through, where its folder says so."""
    import msgspec

    from trainers.folders import JOB
    from trainers.outcome import Job

    path = folder / JOB
    return msgspec.json.decode(path.read_bytes(), type=Job).settings.gate if path.is_file() else None


def _tell(step: str) -> None:
    typer.echo(f"{step} …", err=True)


def _show(done: "Compressed") -> None:
    from rich.console import Console
    from rich.table import Table

    heads = ("MB", "p50 ms", "p95", "p99", "rows/s", "accuracy", "macro F1", "agrees", "max diff", "in batch")
    table = Table("variant", box=None)
    for head in heads:
        table.add_column(head, justify="right")
    for name, each in done.worth.items():
        marks = [" *" if name == done.best else "", " (serves)" if name == done.serves else ""]
        table.add_row(
            name + "".join(marks),
            f"{each.bytes / 1e6:.1f}", f"{each.p50_ms:.2f}", f"{each.p95_ms:.2f}", f"{each.p99_ms:.2f}",
            f"{each.rows_per_s:.0f}", f"{each.accuracy:.4f}", f"{each.f1_macro:.4f}",
            f"{each.agreement:.4f}", f"{each.max_difference:.2g}", f"{each.alone_and_together:.2g}",
        )  # fmt: skip
    Console(highlight=False, width=140).print(table)
    typer.echo("* the fastest that is good enough. One thread; rows/s in batches of 32.")
    typer.echo("in batch: the largest difference between logits alone and in a padded batch.")
