"""Explains the alerts of a backtest: consumes an outcome, produces each alert's evidence and HTML of it.

What the live system's alerts carry, in their form, so that the report shows what an alert's page shows
(`streams.alerts.page`). An alarm on errors of a table adds which features moved where it began.
"""

from html import escape
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from infra.backtest.moved import MOVED, Moved, moved
from infra.backtest.row import History
from infra.backtest.watch import Alert

_SPAN: Final = 500
_TENTHS: Final = np.linspace(0.0, 1.0, 11)

Floats = NDArray[np.float64]


def details(history: History, alert: Alert) -> str:
    """Return an alert as a block that opens, with what its page would show; one without evidence says so."""
    from streams.alerts.explanation import explain
    from streams.alerts.page.parts import parts

    body = parts(explain(evidence(history, alert))) or "<p>Nothing more is known of it.</p>"
    says = f" {escape(alert.message)}" if alert.message else ""
    return (
        f'<details class="alert"><summary><b>row {alert.row:,}</b> <span class="dim">{escape(alert.kind)}, '
        f"{escape(alert.detector)}.</span>{says}</summary>{body}</details>"
    )


def evidence(history: History, alert: Alert) -> dict[str, Any]:
    """Return an alert's evidence; for one on errors that names no features, those that moved around it."""
    if alert.kind != "error" or "features" in alert.evidence:
        return alert.evidence
    at = alert.row if alert.began is None else alert.began
    found = [_feature(feature) for feature in moved(history, at, _SPAN) if feature.much]
    return {**alert.evidence, "features": found} if found else alert.evidence


def _feature(found: Moved) -> dict[str, Any]:
    """Return a feature as an alert's evidence has it."""
    bins, before, after = _binned(found)
    return {
        "feature": found.name,
        "psi": found.psi,
        "threshold": MOVED,
        "mean": {} if found.words else {"before": found.before.mean(), "after": found.after.mean()},
        "histogram": {"bins": bins, "before": before.tolist(), "after": after.tolist()},
    }


def _binned(found: Moved) -> tuple[list[str], Floats, Floats]:
    """Return bins of equal share before, or those of a category, and the shares of both sides."""
    if found.words:
        edges, bins = np.arange(len(found.words) - 1, dtype=float), list(found.words)
    else:
        edges = np.unique(np.quantile(found.before, _TENTHS))
        bins = [f"≤ {edge:.4g}" for edge in edges] + [f"> {edges[-1]:.4g}"]
    before, after = (
        np.bincount(np.searchsorted(edges, side), minlength=len(bins)) / max(1, side.size)
        for side in (found.before, found.after)
    )
    return bins, before, after
