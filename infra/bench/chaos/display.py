"""Progress for people: consumes counts of the run, produces a live panel, or plain lines off a terminal."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self, TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_PLAIN_EVERY_S: Final = 5.0


@dataclass(frozen=True)
class Snapshot:
    """The state of the run: `counts` by place, `rates` in events a second since the last snapshot."""

    elapsed_s: float
    phase: str
    events: int
    sent: int
    faults: int
    faults_planned: int
    counts: Mapping[str, int]


class Display:
    """Tells what happens: one panel that is redrawn on a terminal, a line every few seconds elsewhere."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        to_stderr: bool,
        out: TextIO | None = None,
        title: str = "headrace bench chaos",
    ) -> None:
        self._clock = clock
        self._title = title
        self._out = out or (sys.stderr if to_stderr else sys.stdout)
        self._terminal = self._out.isatty()
        width = None if self._terminal else 110
        self._console = Console(file=self._out, width=width, no_color=not self._terminal, highlight=False)
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)
        self._shown_at = float("-inf")

    def say(self, text: str, style: str = "") -> None:
        """Tell one event."""
        at = f"{self._clock():6.1f} s  "
        if self._terminal:
            self._console.print(Text(at, style="dim") + Text(text, style=style))
        else:
            self._out.write(f"{at}{text}\n")
            self._out.flush()

    def show(self, snapshot: Snapshot) -> None:
        """Show the present state; may be called several times a second."""
        if self._terminal:
            self._live.update(panel(snapshot, self._title))
        elif snapshot.elapsed_s - self._shown_at >= _PLAIN_EVERY_S:
            self._shown_at = snapshot.elapsed_s
            self.say(line(snapshot))

    def summary(self, table: RenderableType) -> None:
        """Print the closing table below everything."""
        if self._terminal:
            self._live.stop()
        self._console.print(table)

    def __enter__(self) -> Self:
        if self._terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal:
            self._live.stop()
        self._out.flush()


def line(snapshot: Snapshot) -> str:
    """Write the state as one line."""
    places = ", ".join(f"{name} {count:,}" for name, count in snapshot.counts.items())
    faults = f"faults {snapshot.faults}/{snapshot.faults_planned}"
    return f"{snapshot.phase} | sent {snapshot.sent:,}/{snapshot.events:,} | {faults} | {places}"


def panel(snapshot: Snapshot, title: str) -> RenderableType:
    """Draw the state."""
    flow = Table.grid(padding=(0, 2))
    for name, count, total in (
        ("sent", snapshot.sent, snapshot.events),
        *((name, count, snapshot.events) for name, count in snapshot.counts.items() if name != "dead"),
        ("faults", snapshot.faults, snapshot.faults_planned),
    ):
        bar = ProgressBar(total=max(total, 1), completed=min(count, total), width=36)
        flow.add_row(name, bar, f"{count:,} / {total:,}")
    flow.add_row("dead", "", f"{snapshot.counts.get('dead', 0):,}")
    said = f"{title} · {snapshot.phase} · {snapshot.elapsed_s:.0f} s"
    return Panel(flow, title=said, title_align="left")
