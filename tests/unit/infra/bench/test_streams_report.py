"""The figures of a run are told as they are, losers and failures included."""

from pathlib import Path
from typing import Any

import pytest

from infra.bench.streams import report
from infra.bench.streams.engines import AT_LEAST_ONCE, ENGINES, FLINK, FLINK_SQL, HEADRACE
from infra.bench.streams.profile import shares
from infra.bench.streams.rounds import MIN_EVENTS, Plan, summary


def engine(name: str, rates: list[int]) -> dict[str, Any]:
    """Return an engine's figures with these rates."""
    return {
        "events_per_s": rates,
        "median": sorted(rates)[len(rates) // 2] if rates else None,
        "cpu_us_per_event": 9.5,
        "lost": 0,
        "doubled": 3,
        "guarantee": ENGINES[name].guarantee,
        "title": ENGINES[name].title,
        **({} if rates else {"failed": ["it did not warm up"]}),
    }


@pytest.fixture
def figures() -> dict[str, Any]:
    """A run in which Bytewax was faster and Flink failed."""
    rates = {
        HEADRACE: [90_000, 100_000, 110_000],
        AT_LEAST_ONCE: [125_000] * 3,
        "bytewax": [120_000, 125_000, 130_000],
        "quix": [12_500] * 3,
        "flink_sql": [],
    }
    job = {"rounds": 3, "partitions": 4, "event_bytes": 275, "duplicates": 0.05}
    machine = {"cpu": "a processor", "cores": 2}
    engines = {name: engine(name, found) for name, found in rates.items()}
    return {"at": "2026-03-14T09:26:53+00:00", "machine": machine, "job": job, **summary(engines)}


def test_ratios_compare_medians_and_leave_ours_out(figures: dict[str, Any]) -> None:
    """Above one: Headrace was faster. A failed engine has no ratio."""
    assert figures["ratios"] == {"bytewax": 0.8, "quix": 8.0}
    assert figures["exactly_once_cost"] == pytest.approx(0.2)


def test_headrace_on_flink_is_set_beside_flink_sql(figures: dict[str, Any]) -> None:
    """Both are jobs of one cluster; nothing is said where one of them has no figure."""
    assert figures["flink_ratio"] is None
    rates = {FLINK: [150_000], FLINK_SQL: [100_000]}
    both = figures | summary({name: engine(name, found) for name, found in rates.items()})
    assert (both["flink_ratio"], both["ratios"]) == (1.5, {})
    assert "at 1.50 times the rate of Flink SQL" in report.sentences(both)


def test_no_ratio_without_headrace() -> None:
    """A run of peers alone says nothing about Headrace."""
    assert summary({"quix": engine("quix", [5])})["ratios"] == {}
    assert summary({"quix": engine("quix", [5])})["exactly_once_cost"] is None


def test_the_table_ranks_all_and_hides_nobody(figures: dict[str, Any]) -> None:
    """Who was faster stands above Headrace, who failed stands last."""
    rows = report.table(figures).splitlines()[2:]
    titles = [row.split("|")[1].strip() for row in rows]
    assert titles.index(ENGINES["bytewax"].title) < titles.index(ENGINES[HEADRACE].title)
    assert titles[-1] == ENGINES["flink_sql"].title and "failed" in rows[-1]
    assert "| 100,000 | 90,000 / 100,000 / 110,000 |" in rows[titles.index(ENGINES[HEADRACE].title)]


def test_the_sentences_name_the_faster_the_failed_and_the_cost(figures: dict[str, Any]) -> None:
    """What speaks against Headrace is said in words too."""
    told = report.sentences(figures)
    assert "costs 20.0% of the rate" in told
    assert f"Faster than Headrace in this run: {ENGINES['bytewax'].title}." in told
    assert f"Failed in at least one round: {ENGINES['flink_sql'].title}." in told


def test_renewing_the_docs_replaces_the_former_figures_alone(figures: dict[str, Any], tmp_path: Path) -> None:
    """The page around the table stays; the second renewal leaves no trace of the first."""
    page = tmp_path / "benchmarks.md"
    page.write_text((report.DOCS / "benchmarks.md").read_text(encoding="utf-8"), encoding="utf-8")
    report.renew(figures, tmp_path)
    once = page.read_text(encoding="utf-8")
    report.renew(figures, tmp_path)
    assert page.read_text(encoding="utf-8") == once
    assert report.table(figures) in once and "How it is measured" in once
    assert (tmp_path / "streams.svg").read_text(encoding="utf-8").count("125,000") >= 1


def test_every_round_has_another_order_and_all_engines() -> None:
    """Interleaving: no engine always comes first, none is left out."""
    plan = Plan(Path(), rounds=3)
    orders = [[one.name for one in plan.order(number)] for number in range(3)]
    assert len({tuple(order) for order in orders}) == 3
    assert all(sorted(order) == sorted(ENGINES) for order in orders)
    assert plan.events_of(ENGINES["faust"]) == 15_000
    assert Plan(Path(), events=1_000).events_of(ENGINES["faust"]) == MIN_EVENTS


def test_profile_shares_count_what_worked() -> None:
    """By itself, with its callees, by package; waiting for the kernel is no work."""
    found = shares(
        [
            "main (streams/apps/clean.py);decode (schemas/envelope.py) 60",
            "main (streams/apps/clean.py);send (aiokafka/producer/sender.py);crc (aiokafka/record/crc.py) 40",
            "main (streams/apps/clean.py);EpollSelector.select (selectors.py) 900",
        ]
    )
    assert (found["samples"], found["waiting"]) == (100, 900)
    assert found["own"][0] == {"name": "decode (schemas/envelope.py)", "share": 0.6}
    assert found["total"][0] == {"name": "main (streams/apps/clean.py)", "share": 1.0}
    assert {row["name"]: row["share"] for row in found["packages"]} == {"schemas": 0.6, "aiokafka": 0.4}
