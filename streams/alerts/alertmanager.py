"""The Alertmanager channel: consumes alerts, keeps Prometheus' Alertmanager informed of those that stand.

Alertmanager's clients send every standing alert again and again, and it takes one that is not repeated for
resolved (https://prometheus.io/docs/alerting/latest/clients/). So `repeat` is to be called in a loop; what
it groups, silences and inhibits is its own affair. Alerts are told apart by their labels, which leave out the
id: one stream, model and signal has one alert at a time.
"""

from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from pydantic import SecretStr

from infra.runtime.clock import Clock
from schemas.drift import DriftAlert, Signal
from streams.alerts.channel import Place, nowhere
from streams.alerts.persistence import Outcome, persist
from streams.alerts.post import Poster

NAME: Final = "HeadraceDrift"
_MISSED: Final = 4  # so many repetitions may fail before the alert counts as resolved, as Prometheus has it
_TEST_LASTS: Final = timedelta(minutes=5)
_NOTICE_LASTS: Final = timedelta(hours=1)

_Subject = tuple[str, str, str]


class Alertmanager:
    """Sends alerts to one Alertmanager; remembers those that stand, one a stream, model and signal."""

    name = "alertmanager"

    def __init__(
        self, url: SecretStr, timeout_s: float, repeat_s: float, clock: Clock, place: Place = nowhere
    ) -> None:
        base = url.get_secret_value().rstrip("/")
        self._poster = Poster(SecretStr(f"{base}/api/v2/alerts"), timeout_s)
        self._lasts = timedelta(seconds=repeat_s * _MISSED)
        self._clock = clock
        self._place = place
        self._standing: dict[_Subject, DriftAlert] = {}

    async def tell(self, alert: DriftAlert, *, give_up_after_s: float) -> Outcome:
        """Send an alert, or its end; one that takes another's place ends it."""
        before = self._standing.get(_subject(alert))
        self.remember(alert)
        body = [] if alert.recovered and before else [self._posted(alert, self._until(alert))]
        if before is not None and before.id != alert.id:
            body.append(self._posted(before, alert.raised_at))
        post = partial(self._poster.post, body)
        return await persist(self.name, alert.id, post, give_up_after_s=give_up_after_s)

    def remember(self, alert: DriftAlert) -> None:
        """Take note of what stands, after a restart from what was told before it."""
        subject = _subject(alert)
        if alert.recovered:
            self._standing.pop(subject, None)
        elif "test" not in alert.evidence and alert.signal is not Signal.ROLLBACK:
            self._standing[subject] = alert

    async def repeat(self) -> None:
        """Send everything that stands once more; what fails now is sent by the next repetition."""
        standing = list(self._standing.values())
        if standing:
            await self._poster.post([self._posted(alert, self._until(alert)) for alert in standing])

    async def close(self) -> None:
        """Close the connections."""
        await self._poster.close()

    def _posted(self, alert: DriftAlert, until: datetime) -> dict[str, Any]:
        return posted(alert, until, self._place(alert))

    def _until(self, alert: DriftAlert) -> datetime:
        if alert.recovered:
            return alert.raised_at
        if "test" in alert.evidence:
            return alert.raised_at + _TEST_LASTS
        if alert.signal is Signal.ROLLBACK:  # it is done: nothing stands that could end
            return alert.raised_at + _NOTICE_LASTS
        return self._clock.now() + self._lasts


def _subject(alert: DriftAlert) -> _Subject:
    return alert.stream, alert.model, alert.signal.value


def posted(alert: DriftAlert, until: datetime, page: str = "") -> dict[str, Any]:
    """Return an alert as Alertmanager's API takes it (`postableAlert`); a page is its source."""
    labels = {
        "alertname": NAME,
        "stream": alert.stream,
        "model": alert.model,
        "signal": alert.signal.value,
        "severity": alert.severity.value,
        "test": "true" if "test" in alert.evidence else "",
    }
    annotations = {
        "summary": alert.summary,
        "response": alert.response.value,
        "detector": alert.detector,
        "statistic": f"{alert.statistic:.4g}",
        "threshold": f"{alert.threshold:.4g}",
        "version": str(alert.version) if alert.version else "",
        "runbook_url": alert.runbook,
        "alert_id": alert.id,
        "page": page,
    }
    return {
        "labels": {name: value for name, value in labels.items() if value},
        "annotations": {name: value for name, value in annotations.items() if value},
        "startsAt": alert.since.isoformat(),
        "endsAt": until.isoformat(),
        **({"generatorURL": page} if page.startswith("http") else {}),
    }
