"""What every worker does with its settings: whether they are right, and where the audit of changes went."""

from typing import Final

from prometheus_client import Counter, Gauge

SETTINGS_VALID: Final = Gauge(
    "headrace_settings_valid", "0 while a file of settings is wrong and older settings hold", ["file"]
)
AUDIT: Final = Counter("headrace_audit_total", "Audit records by where they went", ["outcome"])


def set_settings_valid(file: str, *, valid: bool) -> None:
    """Tell whether a file of settings was taken as it is now."""
    SETTINGS_VALID.labels(file).set(valid)


def count_audit(outcome: str, records: int) -> None:
    """Count audit records that were `published`, `kept_in_file` or `lost`."""
    AUDIT.labels(outcome).inc(records)
