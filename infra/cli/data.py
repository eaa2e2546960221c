"""`headrace data …`: consumes the datasets that models were trained on, shows and exports them."""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from schemas.errors import Fatal

if TYPE_CHECKING:
    from trainers.datasets import Stored
    from trainers.description import Description

_data: Final = typer.Typer(
    name="data",
    no_args_is_help=True,
    help="The datasets that models were trained on: list, show, export; and what is remembered.\n\n"
    "Every training collects one, in versions named by the sha256 of its rows. A model's card names its"
    " dataset (`headrace models show MODEL VERSION`). Start with `headrace data list`, then"
    " `headrace data show DATASET`.",
)

AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]
DatasetName = Annotated[
    str,
    typer.Argument(
        metavar="DATASET", help="the beginning of its sha256, or its run, as `headrace data list` shows them"
    ),
]
Part = Literal["all", "training", "validation", "test"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_data)


@_data.command("list")
def list_datasets(
    stream: Annotated[str, typer.Option(help="of this stream only")] = "", as_json: AsJson = False
) -> None:
    """List the datasets on disk, oldest first: version, stream, rows by side, leaks found, run.

    `description only` marks those that newer ones took the place of (`learn.keep_datasets`).
    """
    from infra.runtime.settings import home
    from trainers.datasets import stored

    found = stored(home(), stream)
    if as_json:
        typer.echo(json.dumps([_row(one) for one in found], indent=2))
        return
    if not found:
        of = f" of stream {stream!r}" if stream else ""
        typer.echo(f"no dataset{of} yet: the trainer collects one whenever it trains")
        return
    typer.echo(
        f"{'dataset':<12}  {'stream':<14} {'collected':<16} {'training':>8} {'valid.':>7} {'test':>6}  run"
    )
    for one in found:
        row = _row(one)
        at = (row["created_at"] or "")[:16].replace("T", " ")
        rows = row["rows"]
        line = (
            f"{row['dataset'][:12]}  {row['stream']:<14} {at:<16} {rows.get('training', 0):>8}"
            f" {rows.get('validation', 0):>7} {rows.get('test', 0):>6}  {row['run']}"
        )
        typer.echo(f"{line}  (description only)" if row["pruned"] else line)


@_data.command("show")
def show(dataset: DatasetName, as_json: AsJson = False) -> None:
    """Show one dataset: windows, lineage, leaks, statistics and the data dictionary.

    With --json everything, including the queries that read its rows from ClickHouse again.
    """
    import msgspec

    from infra.runtime.settings import home
    from trainers.datasets import find

    one = find(home(), dataset)
    if as_json:
        known = msgspec.to_builtins(one.description)
        typer.echo(json.dumps({**known, "run": one.run, "path": str(one.path)}, indent=2))
        return
    typer.echo("\n".join(_page(one)))


@_data.command("export")
def export(
    dataset: DatasetName,
    file: Annotated[Path | None, typer.Argument(help="where to; JSON lines go to standard output")] = None,
    form: Annotated[Literal["jsonl", "parquet"], typer.Option("--format")] = "jsonl",
    side: Annotated[Part, typer.Option(help="which rows")] = "all",
    as_json: Annotated[bool, typer.Option("--json", help="print what was written as JSON")] = False,
) -> None:
    """Write a dataset's rows: one record a row, with its side, coordinates, label, text and readings.

    A reading is the column `values.NAME`; where a row has none, JSON lines leave it out and Parquet has null.

    Example: `headrace data export 3f9a2c --format parquet --side test test.parquet`
    """
    from infra.runtime.settings import home
    from trainers.datasets import PARTS, find, flat, rows

    if file is None and (form == "parquet" or as_json):
        raise typer.BadParameter("name a FILE to write to: only JSON lines can go to standard output")
    one = find(home(), dataset)
    sides = tuple(PARTS) if side == "all" else (side,)
    records = [flat(*row) for row in rows(one, sides)]
    if file is None:
        _jsonl(records, sys.stdout.buffer)
        return
    try:
        with file.open("wb") as opened:
            (_jsonl if form == "jsonl" else _parquet)(records, opened)
    except OSError as error:
        raise Fatal(f"{file} cannot be written: {error.strerror}") from error
    version = one.description.sha256
    if as_json:
        typer.echo(json.dumps({"dataset": version, "rows": len(records), "file": str(file), "format": form}))
    else:
        typer.echo(f"{len(records)} rows of dataset {version[:12]} are in {file}")


@_data.command("reservoir")
def reservoir(
    stream: Annotated[str, typer.Argument(help="a stream of headrace.toml")], as_json: AsJson = False
) -> None:
    """Show what a stream remembers of its past to train on again: by class, and by the dataset it came from.

    It holds equally many rows of each class, about `learn.replay` of them for training, and lasts over
    restarts. --json names every row.
    """
    from infra.runtime.settings import home
    from trainers.memory import Memory, memory_file

    file = memory_file(home(), stream)
    if not file.is_file():
        there = ", ".join(sorted(path.stem for path in file.parent.glob("*.json")))
        raise Fatal(f"stream {stream!r} remembers nothing yet; there are: {there or 'none'}")
    entries = Memory(file).entries
    if as_json:
        rows = [
            {"source": one.row.source, "id": one.row.id, "label": one.row.label, "dataset": one.dataset}
            for one in entries
        ]
        typer.echo(json.dumps({"stream": stream, "rows": rows}, indent=2))
        return
    typer.echo(f"{len(entries)} rows of stream {stream} are remembered")
    for label, count in sorted(Counter(one.row.label or "(no label)" for one in entries).items()):
        typer.echo(f"  class {label:<20} {count:>7}")
    for version, count in sorted(Counter(one.dataset for one in entries).items()):
        typer.echo(
            f"  {f'first in dataset {version[:12]}' if version else 'in no dataset yet':<36} {count:>7}"
        )


def _jsonl(records: list[dict[str, Any]], file: IO[bytes]) -> None:
    import msgspec

    for record in records:
        file.write(msgspec.json.encode(record) + b"\n")
    file.flush()


def _parquet(records: list[dict[str, Any]], file: IO[bytes]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    readings = sorted({name for record in records for name in record if name.startswith("values.")})
    texts = ("side", "part", "source", "id", "label", "text", "topic")
    kinds = {
        **dict.fromkeys(texts, pa.string()), "time": pa.timestamp("us", tz="UTC"), "partition": pa.int32(),
        "offset": pa.int64(), **dict.fromkeys(readings, pa.float64()),
    }  # fmt: skip
    pq.write_table(pa.Table.from_pylist(records, schema=pa.schema(list(kinds.items()))), file)


def _row(one: "Stored") -> dict[str, Any]:
    known = one.description
    return {
        "dataset": known.sha256,
        "stream": known.stream,
        "run": one.run,
        "created_at": known.created_at.isoformat() if known.created_at else None,
        "rows": known.statistics.rows,
        "alert": known.lineage.alert,
        "parents": known.lineage.parents,
        "leaks": known.leaks.content + known.leaks.near,
        "leaks_kept": known.leaks.kept,
        "bytes": one.size_bytes,
        "pruned": known.pruned,
    }


def _page(one: "Stored") -> list[str]:
    known = one.description
    lineage, leaks = known.lineage, known.leaks
    kept = " (its rows are on disk no more)" if known.pruned else ""
    lines = [f"dataset {known.sha256}{kept}", f"stream {known.stream}, run {one.run}"]
    lines.append(f"asked for by alert {lineage.alert}" if lineage.alert else "asked for by no alert")
    for parent, count in lineage.parents.items():
        lines.append(f"  parent {parent[:12]}: {f'{count} rows of it' if count else 'of the champion'}")
    lines.append("windows")
    for window in known.windows:
        lines.append(f"  {window.name:<10} {window.rows:>7} rows  {window.event_from} to {window.event_to}")
        lines += [f"  {'':<10} {at}: {low} to {high}" for at, (low, high) in sorted(window.offsets.items())]
    lines += _tables(known)
    lines.append(
        f"leaks: {leaks.identity} events came twice; of the test {leaks.content} rows had a content that was"
        f" trained on, {leaks.near} nearly one; {leaks.content + leaks.near - leaks.kept} were dropped"
    )
    if leaks.recurring:
        lines.append(f"  {leaks.recurring} more have one that the stream repeats all the time; they stayed")
    if leaks.kept:
        lines.append(f"  {leaks.kept} stayed, for the test would be too small to judge by without them")
    if known.rare:
        lines.append(f"left out: {known.rare} rows whose label has fewer than three")
    lines.append("dictionary")
    lines += [
        f"  {field.name:<20} {field.type:<12} {field.meaning}{f' ({field.unit})' if field.unit else ''}"
        for field in known.dictionary
    ]
    return lines


def _tables(known: "Description") -> list[str]:
    """Return the classes by side, the lengths of texts, and the features."""
    sides = known.statistics.rows
    lines = [f"{'rows':<24}" + "".join(f"{side:>12}" for side in sides)]
    lines.append(f"  {'all':<22}" + "".join(f"{count:>12}" for count in sides.values()))
    for label in sorted({label for classes in known.statistics.classes.values() for label in classes}):
        counts = (known.statistics.classes.get(side, {}).get(label, 0) for side in sides)
        lines.append(f"  {label[:22]:<22}" + "".join(f"{count:>12}" for count in counts))
    if known.statistics.lengths:
        of = ", ".join(f"{name} {value:.0f}" for name, value in known.statistics.lengths.items())
        lines.append(f"text, characters: {of}")
    for name, values in known.statistics.features.items():
        missing = known.statistics.missing.get(name, 0)
        of = ", ".join(f"{quantile} {value:.4g}" for quantile, value in values.items())
        lines.append(f"  {name}: {of}{f'; missing in {missing} rows' if missing else ''}")
    return lines
