"""The reckoning: consumes ledger, watch, ClickHouse and Kafka, produces the figures and the story."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from aiokafka.errors import KafkaError

from infra.demo import lineage
from infra.demo.conductor import Conductor
from infra.demo.figures import Comparison, Figures, Percentiles, accuracy, compare, shortcomings
from infra.demo.lineage import Step
from infra.demo.plan import Plan
from infra.demo.series import by_class
from infra.demo.story import Story
from infra.demo.webhook import WebhookReceiver
from infra.runtime.settings import Settings
from infra.runtime.warehouse import Warehouse
from schemas.errors import HeadraceError
from schemas.release import Release, Transition


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    story: Story


async def collect(
    plan: Plan, settings: Settings, conductor: Conductor, webhook: WebhookReceiver, stuck: str
) -> Outcome:
    """Compare what was sent with what is there, and put the story together."""
    watch, ledger, moments = conductor.watch, conductor.ledger, conductor.moments
    conductor.display.say("comparing every acknowledged id with ClickHouse and with the predictions topic")
    accepted = ledger.accepted()
    warehouse = compare(accepted, await watch.warehouse_counts())
    # A stream that no model judges has no predictions, and none are missing.
    predicted = (
        compare(accepted, await watch.prediction_counts()) if conductor.answered else Comparison(0, (), ())
    )
    moments.ended = time.time()
    figures = Figures(
        ledger=ledger,
        answers=watch.answers,
        moments=moments,
        warehouse=warehouse,
        predicted=predicted,
        dead=watch.dead,
        selectable_at=watch.selectable_at,
        alerts=[msgspec.to_builtins(alert) for alert in watch.alerts],
        releases=_served(watch.releases),
        swaps=watch.swaps,
        loop_s=moments.ended - (moments.began or moments.ended),
        peak_rss_bytes=watch.peak_rss_bytes,
        stream=plan.stream,
        trainings=_trainings(watch.transitions, plan.stream),
    )
    figures.detail = _detail(plan, conductor, webhook, figures)
    steps = await _lineage(settings, conductor, figures)
    story = Story(
        figures=figures,
        alerts=watch.alerts,
        swaps=watch.swaps,
        transitions=watch.transitions,
        drift_levels=watch.drift_levels,
        rows_by_stream=watch.rows_by_stream,
        webhook_posts=len(webhook.received),
        expected_rejections=ledger.malformed_sent + ledger.bad_records_sent.total(),
        lineage=steps,
        shortcomings=([stuck] if stuck else []) + shortcomings(figures, must_learn=plan.replay is None),
        title="Headrace demo" if plan.replay is None else f"Headrace replay into {plan.stream}",
        seed=plan.seed,
        rate=plan.rate,
    )
    return Outcome(story)


def _trainings(transitions: Sequence[Transition], stream: str) -> list[tuple[float, float]]:
    """Return when each training of the stream's model began and when its verdict was there."""
    spans, began = [], None
    for step in transitions:
        if step.stream != stream:
            continue
        if step.state == "training":
            began = step.at.timestamp()
        elif step.state in {"released", "rejected"} and began is not None:
            spans.append((began, step.at.timestamp()))
            began = None
    return spans


def _served(releases: list[Release]) -> list[Release]:
    """Return each released version once; an announcement may be repeated."""
    return list({(release.model, release.version): release for release in releases}.values())


async def _lineage(settings: Settings, conductor: Conductor, figures: Figures) -> list[Step]:
    found = lineage.example(figures)
    if found is None:
        return []
    try:
        warehouse = await Warehouse.open(settings.endpoints.clickhouse, settings.config.database)
        try:
            return await lineage.trace(
                settings, warehouse, found, conductor.watch.releases, conductor.watch.alerts
            )
        finally:
            await warehouse.close()
    except (HeadraceError, KafkaError, msgspec.DecodeError) as error:
        conductor.display.say(f"the lineage could not be traced: {error}", "yellow")
        return []


def _detail(plan: Plan, conductor: Conductor, webhook: WebhookReceiver, figures: Figures) -> dict[str, Any]:
    """Return what helps to understand the figures, beyond those that are agreed."""
    watch, ledger = conductor.watch, conductor.ledger
    return {
        "stream": plan.stream,
        "seed": plan.seed,
        "rate": plan.rate,
        "lost_in": {"warehouse": len(figures.warehouse.lost), "predictions": len(figures.predicted.lost)},
        "doubled_in": {
            "warehouse": len(figures.warehouse.doubled),
            "predictions": len(figures.predicted.doubled),
        },
        "copies_sent": ledger.copies_sent,
        "labels_sent": ledger.labels_sent,
        "bad_input_sent": {"http": ledger.malformed_sent, "kafka": dict(ledger.bad_records_sent)},
        "rejected_by": {"gateway": dict(ledger.rejected_http), "cleaning": dict(watch.dead)},
        "unexpected_answers": ledger.unexpected,
        "retried_requests": dict(ledger.failures),
        "rows_by_stream": watch.rows_by_stream,
        "predictions_by_stream": dict(watch.predictions_by_stream),
        "webhook_posts": len(webhook.received),
        "accuracy_by_version": _by_version(figures),
        "accuracy_by_class": _by_class(figures),
        "answer_ms": _answer_ms(figures),
        "prediction_ms": {
            name: {**found.as_json(), "events": found.count} if found else None
            for name, found in figures.beside_training().items()
        },
        "trainer": [
            f"{step.model}: {step.previous} -> {step.state} {step.message}" for step in watch.transitions
        ],
        "rejected_candidates": [msgspec.to_builtins(release) for release in watch.rejected_candidates],
        "watch_errors": dict(watch.errors),
    }


def _by_version(figures: Figures) -> Mapping[str, Any]:
    phases = {sent.phase for sent in figures.ledger.events.values()}
    versions = {answer.prediction.version for answer in figures.answers.values()}
    found = {}
    for version in sorted(versions):
        share = accuracy(figures.ledger, figures.answers, phases=phases, versions={version})
        found[str(version)] = {"right": share.right, "labelled": share.total}
    return found


def _by_class(figures: Figures) -> Mapping[str, Any]:
    table = by_class(figures.ledger, figures.answers, figures.learnt_versions)
    return {
        label: {part: {"right": right, "labelled": total} for part, (right, total) in parts.items()}
        for label, parts in table.items()
    }


def _answer_ms(figures: Figures) -> dict[str, float] | None:
    """Return how long the gateway took to answer, retries not included."""
    found = Percentiles.of(figures.ledger.answer_ms)
    return found.as_json() if found else None
