"""The contract of `headrace.toml`: what each stream is, how it is cleaned, judged, watched and taught.

Read by every part at its entry point (`infra.runtime.settings`) and passed down; nothing here reads a file.
"""

import re
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from schemas.drift import Response
from schemas.record import Kind
from schemas.release import Task

_UNIT_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def duration_s(value: Any) -> Any:
    """Read `"7d"`, `"5m"`, `"90s"`, `"250ms"` as seconds; a number is taken as seconds already."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*", value)
    if match is None:
        raise ValueError(
            f"{value!r} is no duration; write a number and ms, s, m, h or d, such as '7d' or '90s'"
        )
    return float(match[1]) * _UNIT_S[match[2]]


Duration = Annotated[float, BeforeValidator(duration_s), Field(gt=0)]


class Section(BaseModel):
    """Base of every section: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Dedupe(Section):
    """Exact duplicates, by `(source, id)`, within `window` of first sight (seconds; up to 30 days)."""

    window: Duration = Field(default=7 * 86400.0, le=30 * 86400.0)


class Cleaning(Section):
    """How an event is normalised.

    `missing`: what becomes of a reading that is null or not a number. `mask`: attributes whose values are
    personal and are replaced before anything is stored. `ranges` bound a reading, `units` are the stream's
    own. `outliers` is done to readings further than `outlier_sigmas` robust deviations (Hampel) from the
    recent median of their source.
    """

    missing: Literal["drop", "constant", "last", "mean"] = "last"
    constant: float = 0.0
    text: Literal["nfc", "keep"] = "nfc"
    mask: tuple[str, ...] = ("client_ip", "email")
    units: dict[str, str] = {}
    ranges: dict[str, tuple[float, float]] = {}
    outliers: Literal["flag", "clip", "reject", "off"] = "flag"
    outlier_sigmas: float = Field(default=6.0, gt=0)
    max_bytes: int = Field(default=256 * 1024, gt=0)
    max_age: Duration = 10 * 365 * 86400.0
    max_future: Duration = 3600.0
    late_after: Duration = 3600.0
    missing_time: Literal["arrival", "reject"] = "arrival"


class Learn(Section):
    """How the model learns from the stream. `budget_runs_per_day` and `budget_s` bound what it may cost.

    `min_labels` labelled events are waited for before a training; an anomaly model, which learns without
    labels, waits for so many events.
    """

    mode: Literal["head", "top", "full"] = "head"
    replay: int = Field(default=5000, ge=0)
    recent: int = Field(default=4000, gt=0)
    min_labels: int = Field(default=300, gt=0)
    epochs: int = Field(default=30, gt=0)
    learning_rate: float = Field(default=2e-3, gt=0)
    budget_runs_per_day: int = Field(default=50, gt=0)
    budget_s: Duration = 600.0
    seed: int = 7


class Model(Section):
    """The model that judges a stream. `base` of a text model: `minilm`, a local path, or a hub id."""

    name: str = ""
    task: Literal[Task.CLASSIFICATION, Task.ANOMALY] = Task.CLASSIFICATION
    base: str = ""
    precision: Literal["auto", "fp32", "int8"] = "auto"
    labels: tuple[str, ...] = ()
    max_tokens: int = Field(default=64, ge=8, le=512)
    learn: Learn = Learn()


class ErrorDrift(Section):
    """Drift of the error rate on late labels. `delta` is the detectors' confidence parameter."""

    detector: Literal["ensemble", "adwin", "hddm_w", "hddm_a", "page_hinkley", "off"] = "ensemble"
    delta: float = Field(default=0.001, gt=0, lt=1)
    min_labels: int = Field(default=100, ge=1)


class InputDrift(Section):
    """Drift of what comes in: population stability index per feature over event-time windows."""

    psi: float = Field(default=0.25, gt=0)
    window: Duration = 60.0
    reference: int = Field(default=2000, ge=100)
    min_events: int = Field(default=300, ge=50)
    enabled: bool = True


class PredictionDrift(Section):
    """Drift of what the model answers: PSI of class shares and of confidence over windows."""

    psi: float = Field(default=0.25, gt=0)
    window: Duration = 60.0
    reference: int = Field(default=2000, ge=100)
    min_events: int = Field(default=300, ge=50)
    enabled: bool = True


class Drift(Section):
    """What is watched and what follows. `hysteresis` windows must agree before an alert; then `cooldown`."""

    error: ErrorDrift = ErrorDrift()
    input: InputDrift = InputDrift()
    prediction: PredictionDrift = PredictionDrift()
    on_error: Response = Response.INCREMENT
    on_input: Response = Response.ALERT
    on_prediction: Response = Response.ALERT
    hysteresis: int = Field(default=2, ge=1)
    cooldown: Duration = 60.0


class Gate(Section):
    """What a candidate must show against the champion before it is released."""

    min_gain: float = 0.0
    max_forgetting: float = Field(default=0.01, ge=0)
    p99_ms: float = Field(default=50.0, gt=0)
    significance: float = Field(default=0.05, gt=0, lt=1)
    min_agreement: float = Field(default=0.97, ge=0, le=1)


class Stream(Section):
    """One stream: what comes in, what is done to it, who judges it and what is watched."""

    kind: Kind
    clean: Cleaning = Cleaning()
    dedupe: Dedupe = Dedupe()
    model: Model | None = None
    drift: Drift = Drift()
    gate: Gate = Gate()


class Services(Section):
    """Addresses of existing services; empty means the local stack's own."""

    kafka: str = ""
    redis: str = ""
    clickhouse: SecretStr = SecretStr("")


class Webhook(Section):
    """Where alerts are posted (Slack-compatible JSON)."""

    url: SecretStr = SecretStr("")
    timeout: Duration = 5.0


class Headrace(Section):
    """The whole file."""

    streams: dict[str, Stream]
    services: Services = Services()
    webhook: Webhook = Webhook()
    topic_prefix: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,80}$")
    database: str = Field(default="headrace", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,60}$")
