"""Watches what comes in: consumes rows, produces alerts where their features moved, whatever the labels say.

The live system's input watch with its default thresholds; after an alert what comes is the new reference.
"""

from datetime import UTC, datetime
from typing import Any, Final

from infra.backtest.row import History, Row
from infra.backtest.watch import Alert
from schemas import topics
from schemas.clean import Clean
from schemas.config import Drift
from schemas.drift import Signal
from schemas.record import Coordinates, Kind
from schemas.response import BySeverity
from streams.drift.batch import CleanBatch
from streams.drift.inputs import InputWatch
from streams.drift.shift import Shift
from streams.drift.shift_wording import shift_alert
from streams.drift.wording import Subject

_BEGIN_S: Final = datetime(2000, 1, 1, tzinfo=UTC).timestamp()
_END_S: Final = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
_NAMED: Final = 3
_LEAST: Final = 100


class Inputs:
    """The input watch of one history: a text's shape and novelty, else the numbers of a row.

    A short history has a shorter reference and smaller windows than a stream that never ends.
    """

    def __init__(self, history: History) -> None:
        rows = len(history.rows)
        config = Drift()
        shift = config.input.model_copy(
            update={
                "reference": min(config.input.reference, max(_LEAST, rows // 5)),
                "min_events": min(config.input.min_events, max(_LEAST, rows // 20)),
            }
        )
        self._kind = Kind.LOG if history.text else Kind.SENSOR
        self._timed = history.timed and all(0.0 <= row.at_s < _END_S for row in history.rows)
        self._watch = InputWatch(self._kind, shift, config.hysteresis)

    def update(self, row: Row) -> Alert | None:
        """Take the next row; returns the alert that it completes the evidence for."""
        at_s = row.at_s if self._timed else _BEGIN_S + row.number
        at = Coordinates(topics.CLEAN.name, 0, row.number)
        clean = Clean(
            stream="backtest",
            kind=self._kind,
            source="backtest",
            id=str(row.number),
            time=datetime.fromtimestamp(at_s, UTC),
            raw=at,
            text=row.text,
            values={name: value for name, value in row.values.items() if not isinstance(value, str)},
        )
        shift = self._watch.update(CleanBatch.of(clean, at), at_s)
        if shift is None:
            return None
        self._watch.start()
        return Alert(
            row.number, "input", shift.found_by.name, _worded(shift), _evidence(shift), shift.first[2]
        )


def _evidence(shift: Shift) -> dict[str, Any]:
    """Return what the live system's alert would carry; of examples there are none but rows."""
    now = datetime.fromtimestamp(shift.window_to, UTC)
    subject = Subject("backtest", "", 0)
    alert = shift_alert(subject, Signal.INPUT, shift, response=BySeverity(), now=now)
    return {name: value for name, value in alert.evidence.items() if name not in ("examples", "first")}


def _worded(shift: Shift) -> str:
    """Say which features moved, and since which row."""
    named = "; ".join(f"{m.name} from {m.before:.3g} to {m.after:.3g}" for m in shift.moved[:_NAMED])
    more = f" and {len(shift.moved) - _NAMED} more" if len(shift.moved) > _NAMED else ""
    top = shift.found_by
    return (
        f"on average {named}{more} ({top.name} {top.statistic:.2g}, threshold {top.threshold:.2g}),"
        f" since about row {shift.first[2]:,}"
    )
