"""Progress for people: consumes snapshots and events of the run, produces a live panel or plain lines.

On a terminal one panel is redrawn; elsewhere (a file, a pipe, CI) the same is told in lines, every few
seconds and at each event, so that a log of the run reads as a story.
"""

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Final, Protocol, Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from infra.demo.snapshot import Snapshot, level_text, megabytes, percent

_PLAIN_EVERY_S: Final = 5.0


class Display(Protocol):
    """Where the run tells what happens. A context manager."""

    def say(self, text: str, style: str = "") -> None:
        """Tell one event."""
        ...

    def show(self, snapshot: Snapshot) -> None:
        """Show the present state; called several times a second."""
        ...

    def summary(self, table: RenderableType) -> None:
        """Print the closing summary."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class PlainDisplay:
    """Lines of text, each flushed."""

    def __init__(self, clock: Callable[[], float], out: TextIO | None = None) -> None:
        self._clock = clock
        self._out = out or sys.stdout
        self._shown_at = float("-inf")

    def say(self, text: str, style: str = "") -> None:
        """Print a line with the seconds since the demo began."""
        print(f"[{self._clock():6.1f} s] {text}", file=self._out, flush=True)

    def show(self, snapshot: Snapshot) -> None:
        """Print a line of figures, at most every 5 seconds."""
        if snapshot.elapsed_s - self._shown_at < _PLAIN_EVERY_S:
            return
        self._shown_at = snapshot.elapsed_s
        parts = [
            f"{snapshot.phase:<9}",
            f"sent {snapshot.sent}",
            f"{snapshot.send_rate:.0f}/s in, {snapshot.answer_rate:.0f}/s answered",
            f"behind {snapshot.answers_behind} answers, {snapshot.rows_behind} rows",
            f"accuracy {percent(snapshot.accuracy)}",
        ]
        if snapshot.drift:
            parts.append(f"drift {level_text(snapshot.drift)}")
        parts += [f"{model} v{version}" for model, version in snapshot.versions.items()]
        parts.append(megabytes(snapshot.rss_bytes))
        self.say(" | ".join(parts))

    def summary(self, table: RenderableType) -> None:
        """Print the table as text."""
        Console(file=self._out, width=100, no_color=True, highlight=False).print(table)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._out.flush()


class LiveDisplay:
    """One panel that is redrawn in place; events scroll above it."""

    def __init__(self, clock: Callable[[], float], console: Console) -> None:
        self._clock = clock
        self._console = console
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def say(self, text: str, style: str = "") -> None:
        """Print an event above the panel."""
        self._console.print(Text(f"{self._clock():6.1f} s  ", style="dim") + Text(text, style=style))

    def show(self, snapshot: Snapshot) -> None:
        """Redraw the panel."""
        self._live.update(panel(snapshot))

    def summary(self, table: RenderableType) -> None:
        """Print the summary below everything."""
        self._live.stop()
        self._console.print(table)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


def panel(snapshot: Snapshot) -> RenderableType:
    """Draw the state of the run."""
    flow = Table.grid(padding=(0, 2))
    flow.add_row(
        "sent", f"{snapshot.sent:,}", f"{snapshot.send_rate:.0f}/s", f"{snapshot.copies} of them retries"
    )
    flow.add_row("in ClickHouse", f"{snapshot.rows:,}", "", f"{snapshot.rows_behind} on their way")
    flow.add_row(
        "predictions",
        f"{snapshot.predictions:,}",
        f"{snapshot.answer_rate:.0f}/s",
        f"{snapshot.answers_behind} on their way",
    )
    flow.add_row(
        "turned away", f"{snapshot.refused + snapshot.dead}", "", f"{snapshot.refused} by HTTP, rest dead"
    )
    models = Table.grid(padding=(0, 2))
    for model in sorted({*snapshot.versions, *snapshot.trainer}):
        version = snapshot.versions.get(model)
        serving = f"v{version} serves" if version else "no model yet"
        models.add_row(
            model, serving, Text(f"trainer {snapshot.trainer.get(model, 'idle')}", overflow="ellipsis")
        )
    others = ", ".join(f"{name} {rows:,}" for name, rows in sorted(snapshot.rows_by_stream.items()))
    return Panel(
        Group(
            flow,
            _bar("accuracy", snapshot.accuracy, 1.0, percent(snapshot.accuracy) + " of the last 300 labels"),
            _drift_bar(snapshot),
            models,
            Text(f"rows per stream: {others or '–'}   memory: {megabytes(snapshot.rss_bytes)}", style="dim"),
        ),
        title=f"headrace demo · {snapshot.phase} · {snapshot.elapsed_s:.0f} s",
        title_align="left",
    )


def _drift_bar(snapshot: Snapshot) -> RenderableType:
    level = snapshot.drift
    if level is None:
        return _bar("drift", None, 1.0, "not enough seen yet")
    return _bar("drift", level.nearness, 1.0, level_text(level), alarm=True)


def _bar(name: str, value: float | None, total: float, text: str, *, alarm: bool = False) -> RenderableType:
    row = Table.grid(padding=(0, 2))
    full = value is not None and value >= total
    colour = "red" if alarm and full else "yellow" if alarm else "green"
    bar = ProgressBar(
        total=total,
        completed=min(value or 0.0, total),
        width=30,
        complete_style=colour,
        finished_style=colour,
    )
    row.add_row(f"{name:<9}", bar, text)
    return row


def display_for(clock: Callable[[], float], *, to_stderr: bool) -> Display:
    """Return the display that suits where the output goes. `to_stderr` leaves standard output to the JSON."""
    out = sys.stderr if to_stderr else sys.stdout
    if out.isatty():
        return LiveDisplay(clock, Console(file=out))
    return PlainDisplay(clock, out)
