"""The webhook's body: consumes a drift alert, produces JSON that Slack and its likes show."""

from typing import Any, Final

import msgspec

from schemas.drift import DriftAlert, Severity

_COLOURS: Final = {Severity.CRITICAL: "#c0392b", Severity.WARNING: "#e67e22"}
_RECOVERED: Final = "#27ae60"


def title(alert: DriftAlert) -> str:
    """Return the alert's first line."""
    if "test" in alert.evidence:
        return f"[TEST] {alert.summary}"
    return f"[{'RECOVERED' if alert.recovered else alert.severity.value.upper()}] {alert.summary}"


def fields(alert: DriftAlert, page: str = "") -> dict[str, str]:
    """Return what on-call wants to know beside the summary, by its heading; `page` is its page's place."""
    told = {
        "Stream": alert.stream,
        "Model": f"{alert.model} v{alert.version}" if alert.version else "none",
        "Signal": f"{alert.signal.value} ({alert.detector})",
        "Statistic": f"{alert.statistic:.3f} (threshold {alert.threshold:.3f})",
        "Since": f"{alert.since:%Y-%m-%d %H:%M:%S} UTC",
        "Response": alert.response.value,
        "Page": page,
        "Runbook": alert.runbook,
        "Alert": alert.id,
    }
    return {heading: value for heading, value in told.items() if value}


def message(alert: DriftAlert, page: str = "") -> dict[str, Any]:
    """Return the body: `text` for everyone, `attachments` for Slack, `page` and `alert` whole for machines.

    `text` and fields are escaped as Slack asks; `alert` is not.
    """
    return {
        "text": _escaped(title(alert)),
        "attachments": [
            {
                "color": _RECOVERED if alert.recovered else _COLOURS[alert.severity],
                "fallback": _escaped(title(alert)),
                "fields": [
                    {"title": name, "value": _escaped(value), "short": len(value) < 40}
                    for name, value in fields(alert, page).items()
                ],
            }
        ],
        **({"page": page} if page else {}),
        "alert": msgspec.to_builtins(alert),
    }


def _escaped(text: str) -> str:
    """Return text in which nothing an attacker sent becomes a link or a mention."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
