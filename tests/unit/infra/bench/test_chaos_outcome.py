"""The chaos run's book-keeping: what is lost and doubled is found and told, and a stall is noticed."""

import io
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from infra.bench.chaos.check import Places
from infra.bench.chaos.copies import Copies
from infra.bench.chaos.display import Display, Snapshot, panel
from infra.bench.chaos.drain import Progress
from infra.bench.chaos.outcome import Happened, Outcome, summary
from infra.bench.chaos.plan import Plan, schedule
from infra.bench.chaos.storm import Sent
from infra.bench.chaos.system import StalledError
from infra.bench.chaos.traffic import Nature
from infra.bench.chaos.workspace import prepare
from infra.runtime.settings import parse
from schemas.errors import Fatal

EVENTS = 100


def outcome(**seen: list[int]) -> Outcome:
    """A run of a hundred events and three bad ones, whose places hold what is given, else everything once."""
    plan = Plan(Path("unused"), events=EVENTS, kills=2, rebalances=1)
    sent = Sent(copies_of(range(EVENTS)), Counter({Nature.EVENT: EVENTS, Nature.COPY: 4, Nature.BAD: 3}))
    places = Places.empty(EVENTS, 3)
    for name, counted in vars(places).items():
        if isinstance(counted, Copies):
            default = range(3) if name.endswith("dead") else range(EVENTS)
            for number in seen.get(name, default):
                counted.add(str(number))
    places.reasons.update({"malformed_json": 3})
    return Outcome(plan, sent, schedule(plan), 12.3, places, timeline=[Happened(1.0, "kill -9 sink")])


def copies_of(numbers: range) -> Copies:
    """Count each number once."""
    copies = Copies(EVENTS)
    for number in numbers:
        copies.add(str(number))
    return copies


def text_of(made: Outcome) -> str:
    """Return the closing table as a terminal shows it."""
    out = io.StringIO()
    Console(file=out, width=120).print(summary(made))
    return out.getvalue()


@given(st.lists(st.integers(0, EVENTS - 1), max_size=400))
def test_copies_count_as_a_counter_does(numbers: list[int]) -> None:
    """Lost and doubled in one byte per event are those of an exact counter."""
    copies, exact = Copies(EVENTS), Counter(numbers)
    for number in numbers:
        copies.add(str(number))
    everything = copies_of(range(EVENTS))
    assert copies.lost(everything) == [number for number in range(EVENTS) if not exact[number]]
    assert copies.doubled() == [number for number in range(EVENTS) if exact[number] > 1]
    assert (copies.distinct, copies.total) == (len(exact), exact.total())


def test_what_nobody_sent_is_found() -> None:
    """Ids outside the run, of another shape, or never acknowledged are told apart from lost and doubled."""
    copies = copies_of(range(5))
    copies.add("100")
    copies.add("press-7")
    copies.add("3", times=300)
    assert copies.unsent(copies_of(range(4))) == ["100", "press-7", "4"]
    assert copies.doubled() == [3]


def test_a_sound_run_is_a_success() -> None:
    """Everything once, everywhere: no shortcoming, and the figures under their agreed names."""
    sound = outcome()
    figures = json.loads(json.dumps(sound.as_json()))
    nothing = {"clean": 0, "warehouse": 0, "predictions": 0}
    assert sound.shortcomings() == []
    assert figures["lost"] == nothing and figures["doubled"] == nothing
    assert (figures["sent"], figures["kills"], figures["rebalances"]) == (EVENTS, 2, 1)
    assert figures["rejected"] == {"malformed_json": 3}
    assert figures["duplicates_dropped"] == figures["duplicates_sent"] == 4
    assert figures["timeline"] == [{"at_s": 1.0, "what": "kill -9 sink"}]
    assert "nothing lost, nothing doubled" in text_of(sound)


@pytest.mark.parametrize(
    ("place", "there", "told"),
    [
        ("clean", [*range(EVENTS), 7], "1 doubled in clean: 7"),
        ("predictions", [*range(1, EVENTS)], "1 lost in predictions: 0"),
        ("warehouse", [*range(20, EVENTS)], "20 lost in warehouse: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 …"),
        ("warehouse_predictions", [*range(EVENTS), 1, 1], "1 doubled in warehouse_predictions: 1"),
        ("dead", [0, 2], "1 lost in dead: 1"),
        ("warehouse_dead", [0, 1, 2, 2], "1 doubled in warehouse_dead: 2"),
    ],
)
def test_one_id_too_few_or_too_many_fails_the_run(place: str, there: list[int], told: str) -> None:
    """Each place counts, and the verdict names the place and the ids."""
    failed = outcome(**{place: there})
    assert failed.shortcomings() == [told]
    assert told in text_of(failed)


def test_a_run_that_stalled_claims_nothing() -> None:
    """Without a comparison the figures are null, and the run fails with the reason."""
    plan = Plan(Path("unused"), events=EVENTS, kills=1, rebalances=0)
    stalled = Outcome(plan, Sent(Copies(EVENTS)), [], 3.0, stalled="nothing moved for 120 s")
    figures = stalled.as_json()
    assert figures["lost"] is None and figures["doubled"] is None and figures["duplicates_dropped"] is None
    assert stalled.shortcomings() == ["nothing moved for 120 s", "only 0 of 1 faults happened"]


def test_a_stall_is_told_with_its_place() -> None:
    """A state that stays the same for too long raises; one that moves does not."""
    moving = Progress(60.0, lambda: "never asked")
    moving.see(1)
    moving.see(1)
    stuck = Progress(-1.0, lambda: "the sink is behind on predictions[0] by 12")
    stuck.see(1)
    with pytest.raises(StalledError, match=r"behind on predictions\[0\] by 12"):
        stuck.see(1)


def test_progress_is_lines_off_a_terminal() -> None:
    """A log of the run reads line by line; the panel draws the same state."""
    out = io.StringIO()
    snapshot = Snapshot(12.0, "chaos", EVENTS, 40, 1, 3, {"clean": 30, "predictions": 20, "dead": 2})
    with Display(lambda: 12.0, to_stderr=False, out=out) as display:
        display.show(snapshot)
        display.show(snapshot)
        display.say("kill -9 sink (pid 1)")
    assert out.getvalue().splitlines() == [
        "  12.0 s  chaos | sent 40/100 | faults 1/3 | clean 30, predictions 20, dead 2",
        "  12.0 s  kill -9 sink (pid 1)",
    ]
    drawn = io.StringIO()
    Console(file=drawn, width=100).print(panel(snapshot, "a run"))
    assert "40 / 100" in drawn.getvalue()


def test_only_a_chaos_runs_own_folder_is_emptied(tmp_path: Path) -> None:
    """A folder with other people's files is refused; an earlier run's is made anew."""
    config = prepare(tmp_path / "run")
    assert list(parse(config.read_text(), "test").streams) == ["presses"]
    (tmp_path / "run" / "old").write_text("x")
    prepare(tmp_path / "run")
    assert not (tmp_path / "run" / "old").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis").write_text("x")
    with pytest.raises(Fatal, match="not made by"):
        prepare(tmp_path / "mine")
