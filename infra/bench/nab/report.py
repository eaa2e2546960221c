"""The benchmark's figures for people: consumes them as measured, produces tables for a terminal, and JSON."""

from typing import Any, Final

from infra.bench.nab.contestants import OURS
from infra.bench.nab.profiles import PROFILES, STANDARD

_HEADS: Final = ("standard", "low FP", "low FN", "found", "false", "µs/reading")


def tables(figures: dict[str, Any]) -> str:
    """Return the detectors beside one another, and the first of them series by series."""
    detectors = figures["detectors"]
    first = next(iter(detectors))
    about = f"{figures['series']} series, {figures['rows']:,} readings, {figures['windows']} windows"
    parts = [about, _scores(detectors), _halves(first, detectors[first])]
    if OURS in detectors:
        parts.append(_own(detectors[OURS]))
    parts.append(f"{first}, series by series, {STANDARD.name} profile\n{_series(detectors[first])}")
    return "\n\n".join(parts)


def _scores(detectors: dict[str, Any]) -> str:
    wide = max(len(name) for name in detectors)
    lines = [f"{'':<{wide}}" + "".join(f"{head:>12}" for head in _HEADS)]
    for name, said in detectors.items():
        standard = said["profiles"][STANDARD.name]
        scores = "".join(f"{said['profiles'][profile.name]['score']:12.2f}" for profile in PROFILES)
        counts = f"{standard['found']:12}{standard['false_alarms']:12}"
        lines.append(f"{name:<{wide}}{scores}{counts}{said['us_per_reading']:12.1f}")
    return "\n".join(lines)


def _halves(name: str, said: dict[str, Any]) -> str:
    halves = ", ".join(f"{half[STANDARD.name]:.2f}" for half in said["halves"].values())
    return f"{name} on every other series alone, and on those between them: {halves} ({STANDARD.name})"


def _own(said: dict[str, Any]) -> str:
    own = said["own_threshold"]
    scores = ", ".join(f"{own[profile.name]['score']:.2f}" for profile in PROFILES)
    standard = own[STANDARD.name]
    return (
        f"{OURS} at its own threshold {standard['threshold']:g}, nothing optimised: {scores} "
        f"({standard['found']} found, {standard['false_alarms']} false)"
    )


def _series(said: dict[str, Any]) -> str:
    wide = max(len(each["series"]) for each in said["by_series"])
    lines = [f"{'':<{wide}}{'found':>9}{'false':>8}{'points':>9}"]
    for each in said["by_series"]:
        found = f"{each['found']}/{each['windows']}"
        lines.append(f"{each['series']:<{wide}}{found:>9}{each['false_alarms']:>8}{each['points']:9.2f}")
    return "\n".join(lines)
