"""The benchmark's run: consumes series and detectors' names, produces scores, thresholds and outcomes."""

from collections.abc import Callable, Sequence
from time import process_time
from typing import Any, Final

import msgspec

from infra.bench.nab.contestants import CONTESTANTS, OURS
from infra.bench.nab.corpus import Series
from infra.bench.nab.profiles import PROFILES, STANDARD, Profile
from infra.bench.nab.scoring import Floats, Outcome, Places, normalised, outcome, places, sweep
from streams.detectors.novelty import THRESHOLD

Progress = Callable[[str], None]
_HALVES: Final = {"even": 0, "odd": 1}


class Scored(msgspec.Struct, frozen=True):
    """A detector's anomaly scores, series by series, and what a reading cost in microseconds of CPU."""

    scores: list[Floats]
    us_per_reading: float


class Judge:
    """Judges anomaly scores over one set of series."""

    def __init__(self, corpus: Sequence[Series]) -> None:
        self.corpus = corpus
        self._places: list[Places] = [places(series) for series in corpus]

    def optimised(self, scores: Sequence[Floats], profile: Profile) -> dict[str, Any]:
        """Judge at the threshold that is best for the profile over all series, as NAB does."""
        threshold, _ = sweep(list(zip(self._places, scores, strict=True)), profile).best
        return self.at(scores, profile, threshold)

    def at(self, scores: Sequence[Floats], profile: Profile, threshold: float) -> dict[str, Any]:
        """Judge at a given threshold."""
        outcomes = self.outcomes(scores, profile, threshold)
        points = sum(each.points for each in outcomes)
        return {
            "score": round(normalised(points, self._places, profile), 2),
            "threshold": threshold,
            "found": sum(each.found for each in outcomes),
            "false_alarms": sum(each.false_alarms for each in outcomes),
        }

    def outcomes(self, scores: Sequence[Floats], profile: Profile, threshold: float) -> list[Outcome]:
        """Judge series by series."""
        return [
            outcome(series.name, place, score, profile, threshold)
            for series, place, score in zip(self.corpus, self._places, scores, strict=True)
        ]

    def half(self, which: str) -> "Judge":
        """Return the judge of every other series."""
        return Judge(self.corpus[_HALVES[which] :: 2])


def score_all(corpus: Sequence[Series], names: Sequence[str], progress: Progress) -> dict[str, Scored]:
    """Run the detectors, each anew on every series."""
    scored: dict[str, Scored] = {}
    for name in names:
        progress(f"{name}: {len(corpus)} series")
        began = process_time()
        scores = [CONTESTANTS[name](series.values) for series in corpus]
        spent = process_time() - began
        scored[name] = Scored(scores, 1e6 * spent / sum(len(series.values) for series in corpus))
    return scored


def figures(corpus: Sequence[Series], scored: dict[str, Scored]) -> dict[str, Any]:
    """Return everything that was measured, as plain JSON values."""
    judge = Judge(corpus)
    return {
        "series": len(corpus),
        "rows": sum(len(series.values) for series in corpus),
        "windows": sum(len(series.windows) for series in corpus),
        "detectors": {name: _detector(judge, name, each) for name, each in scored.items()},
    }


def _detector(judge: Judge, name: str, scored: Scored) -> dict[str, Any]:
    profiles = {profile.name: judge.optimised(scored.scores, profile) for profile in PROFILES}
    threshold = profiles[STANDARD.name]["threshold"]
    said = {
        "profiles": profiles,
        "halves": {
            which: {
                profile.name: judge.half(which).optimised(scored.scores[at::2], profile)["score"]
                for profile in PROFILES
            }
            for which, at in _HALVES.items()
        },
        "us_per_reading": round(scored.us_per_reading, 2),
        "by_series": [
            {**msgspec.structs.asdict(each), "points": round(each.points, 4)}
            for each in judge.outcomes(scored.scores, STANDARD, threshold)
        ],
    }
    if name == OURS:
        said["own_threshold"] = {
            profile.name: judge.at(scored.scores, profile, THRESHOLD) for profile in PROFILES
        }
    return said
