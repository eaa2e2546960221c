"""Planted candidates: every bad one is refused, every good one released, through real folders and graphs."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from infra.bench.train.gate import Attempt, attempt, figures, run
from infra.bench.train.planted import Plant, stale_tokenizer
from infra.bench.train.worlds import World, worse
from trainers import folders
from trainers.encoder import prepare


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """Leave the other core to the other tests."""
    torch.set_num_threads(1)


def test_no_bad_candidate_is_released_and_every_good_one_is(tmp_path: Path) -> None:
    """One stream of readings: eighteen kinds of bad, five good ones; those released lie there complete."""
    told: list[Attempt] = []
    found = run(tmp_path, [World("readings", 3, reference_rows=5000)], told.append)
    assert found["planted"] == {"bad": 18, "released": 0}
    assert found["good"]["released"] == found["good"]["tried"] >= 3
    released = [one for one in told if one.released]
    versions = folders.versions(tmp_path / "releases", "readings-3")
    assert len(versions) == len(released)
    for version in versions:
        folders.verify(tmp_path / "releases", "readings-3", version)
    reasons = {one.kind: one.reasons for one in told if not one.good}
    assert all(reasons.values())
    assert any("sha256" in reason for reason in reasons["tampered weights"])
    assert any("golden rows" in reason for reason in reasons["forgets"])
    assert all("gain -0.0" in reasons[f"worse by {points}"][0] for points in (1, 2, 5))


def test_a_stale_tokenizer_is_refused_and_its_sound_twin_released(tmp_path: Path) -> None:
    """With the real encoder: the same head, once beside a tokenizer of another vocabulary."""
    encoder = prepare(tmp_path, "", max_tokens=64)
    world = World("requests", 1, encoder, reference_rows=2000)
    twin = Plant("better by 5", True, 1000, world.best, worse(world, world.best, 5.0, 24))
    stale = replace(twin, kind="stale tokenizer", good=False, spoil=stale_tokenizer)
    refused, released = (attempt(world, plant, tmp_path, n) for n, plant in enumerate((stale, twin)))
    assert not refused.released and released.released
    assert "tokenizer.json: is not the one that the encoder was exported with" in refused.reasons
    assert "golden answers" in refused.reasons[-1]


def test_a_gain_that_the_gate_cannot_see_is_not_counted_as_tried() -> None:
    """Of two good candidates one measured half a point only: it is told apart."""
    made = [
        Attempt(
            world="w", seed=1, kind="better by 1", good=True, rows=1000, released=gain > 0.01, gain=0.01,
            forgetting=0.0, measured=gain, reasons=("",), seconds=1.0,
        )
        for gain in (0.005, 0.012)
    ]  # fmt: skip
    found = figures(made)
    assert found["good"] == {"tried": 1, "released": 1}
    assert found["undecided"] == {"tried": 1, "released": 0}
    assert found["planted"] == {"bad": 0, "released": 0}
