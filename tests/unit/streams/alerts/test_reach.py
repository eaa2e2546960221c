"""Who is told when: channels, silences, acknowledgements, quiet hours, and what is over."""

from datetime import datetime, timedelta
from typing import Any

from schemas.config import Stream
from schemas.control import Action, Control, Scope
from schemas.drift import Severity, Signal
from streams.alerts.reach import Decision, Reach
from tests.unit.streams.alerts.alert import NOW, alert


class Asked:
    """Orders that were given."""

    def __init__(self, silent: str = "", known: str = "") -> None:
        self._silent = silent
        self._known = known

    def silenced(self, stream: str, signal: str, now: datetime) -> Control | None:
        """Return the silence of a stream or signal."""
        return self._order(Action.SILENCED) if self._silent in (stream, f"{stream}/{signal}") else None

    def acknowledged(self, alert: str) -> Control | None:
        """Return the acknowledgement of an alert."""
        return self._order(Action.ACKNOWLEDGED) if alert == self._known else None

    def _order(self, action: Action) -> Control:
        return Control(scope=Scope.ALERT, name="x", action=action, by="a@b", at=NOW)


def decide(
    asked: Asked | None = None,
    drift: dict[str, Any] | None = None,
    now: datetime = NOW,
    told: tuple[str, ...] = (),
    **changed: Any,
) -> Decision:
    """Decide for the webhook."""
    streams = {"requests": Stream.model_validate({"kind": "api", "drift": drift or {}})}
    reach = Reach(streams, asked or Asked())
    return reach.decide("webhook", alert(**changed), now, lambda id: id in told)


def test_an_alert_is_told_unless_something_speaks_against_it():
    """The usual case, also for a stream that this file does not know."""
    assert decide() is Decision.TELL
    assert decide(stream="elsewhere") is Decision.TELL


def test_a_stream_chooses_its_channels():
    """What is left out of `alert` is not used; a test alert is told everywhere."""
    assert decide(drift={"alert": ["email"]}) is Decision.DROP
    assert decide(drift={"alert": ["email"]}, evidence={"test": True}) is Decision.TELL


def test_what_is_silenced_waits():
    """A silence of the stream or of the signal holds it back, one of another signal does not."""
    assert decide(Asked(silent="requests")) is Decision.HOLD
    assert decide(Asked(silent="requests/error")) is Decision.HOLD
    assert decide(Asked(silent="requests/input")) is Decision.TELL


def test_what_somebody_knows_is_not_told_again():
    """Neither the alert itself on a further channel, nor what its cause adds."""
    assert decide(Asked(known="a1")) is Decision.DROP
    assert decide(Asked(known="a0"), evidence={"cause": "a0"}) is Decision.DROP
    assert decide(Asked(known="a0")) is Decision.TELL


def test_the_end_is_told_to_those_who_know_of_the_beginning():
    """Even while it is silent: it is good news, and it is short."""
    over: Any = {"recovered": True, "evidence": {"alert": "a0"}}
    assert decide(**over) is Decision.DROP
    assert decide(Asked(silent="requests"), told=("a0",), **over) is Decision.TELL


def test_warnings_wait_in_quiet_hours_and_what_is_critical_does_not():
    """Nobody is woken by a warning."""
    quiet = {"quiet": "11:00-13:00"}
    assert decide(drift=quiet, severity=Severity.WARNING) is Decision.HOLD
    assert decide(drift=quiet, severity=Severity.WARNING, signal=Signal.INPUT) is Decision.HOLD
    assert decide(drift=quiet) is Decision.TELL
    assert decide(drift=quiet, severity=Severity.WARNING, now=NOW + timedelta(hours=1)) is Decision.TELL


def test_yesterdays_alerts_are_history():
    """After a day it is dropped, whatever held it back."""
    assert decide(Asked(silent="requests"), now=NOW + timedelta(hours=25)) is Decision.DROP
