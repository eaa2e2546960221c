"""The closing summary on the terminal: consumes a finished run, produces one table."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from infra.demo.snapshot import as_text, megabytes, percent
from infra.demo.story import Story


def summary(story: Story) -> RenderableType:
    """Return the figures that `--json` writes, as people read them, and the verdict."""
    figures = story.figures
    table = Table(title=story.title, title_justify="left", show_header=False, box=None, padding=(0, 2))
    for name, value in rows(story):
        table.add_row(name, value)
    verdict = (
        Text("all shown: nothing lost, nothing doubled", style="bold green")
        if not story.shortcomings
        else Text("\n".join(f"fell short: {what}" for what in story.shortcomings), style="bold red")
    )
    if not story.shortcomings and figures.moments.swap is not None:
        verdict.append(", and the model is back in step")
    return Group(Text(), table, Text(), verdict)


def rows(story: Story) -> list[tuple[str, str]]:
    """Return name and text of each figure."""
    figures = story.figures
    told = figures.as_json()
    seconds = told["seconds"]
    accuracies = {name: percent(share.value) for name, share in figures.accuracies().items()}
    found = [
        ("sent", f"{told['sent']:,} messages; {told['accepted']:,} distinct events accepted"),
        (
            "turned away",
            ", ".join(f"{reason} {count}" for reason, count in figures.rejected.items()) or "none",
        ),
        ("duplicates dropped", f"{told['duplicates_dropped']:,}"),
        (
            "in ClickHouse",
            f"{told['warehouse_rows']:,} rows of `{figures.stream}`; all streams: {_streams(story)}",
        ),
        ("predictions", f"{told['predictions']:,}"),
        ("lost, doubled", f"{told['lost']}, {told['doubled']}"),
        ("accuracy", "  ".join(f"{name} {value}" for name, value in accuracies.items())),
        ("drift → alert", f"{as_text(seconds['drift_to_alert'])} s"),
        ("alert → release", f"{as_text(seconds['alert_to_release'])} s"),
        ("release → swap", f"{as_text(seconds['release_to_swap'])} s"),
        ("whole loop", f"{seconds['loop']} s"),
    ]
    for name, p in figures.latency().items():
        if p:
            found.append((f"ingest → {name}", f"p50 {p.p50:.0f} ms, p95 {p.p95:.0f} ms, p99 {p.p99:.0f} ms"))
    found += [("recovered" if alert.recovered else "alert", alert.summary) for alert in story.alerts]
    for release in told["releases"]:
        places = ", ".join(f"{place} from {offset}" for place, offset in release["first_offsets"].items())
        found.append((f"v{release['version']}", f"{release['sha256'][:16]}… {places}"))
    found.append(("webhook", f"{story.webhook_posts} alerts delivered"))
    found.append(("memory at most", megabytes(told["peak_rss_bytes"])))
    return found


def _streams(story: Story) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(story.rows_by_stream.items())) or "–"
