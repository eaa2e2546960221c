"""Predictors: an answer depends on its row and its release, and on nothing else."""

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas import codec
from schemas.release import Manifest, Task
from serving.batching import Policy
from serving.engines import CUDA, TENSORRT
from serving.predictor import Answer, BadAnswer, Predictor, SensorPredictor, choices, make
from serving.release import BadRelease, open_release
from serving.session import PROCESSOR
from tests.unit.serving.releases import (
    FEATURES,
    LABELS,
    Network,
    folder_of,
    lay_out,
    minilm_text,
    seal,
    sensor,
    tiny_text,
)
from tests.unit.serving.texts import TEXTS

NUMBERS = st.floats(-1e4, 1e4, width=32)
READINGS = st.dictionaries(st.sampled_from([*FEATURES, "unknown"]), NUMBERS)
WORDS = st.text(alphabet="abz <>'=/?-ä", max_size=80)
MASKED = st.one_of(st.sampled_from(TEXTS), WORDS)


def served(root: Path, network: Network, pool: ThreadPoolExecutor, serve: str = "fp32") -> Predictor:
    """Lay a network out and load it."""
    return make(open_release(lay_out(root, network, model="m", version=1, serve=serve)), pool)


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Predictor]]:
    """Every variant that is served, text under both policies where the choice is measured."""
    root = tmp_path_factory.mktemp("variants")
    with ThreadPoolExecutor(2) as pool:
        joined = served(root / "joined", tiny_text(1), pool)
        alone = served(root / "alone", tiny_text(1), pool)
        joined.policy, alone.policy = Policy.EQUAL_LENGTH, Policy.SINGLE
        yield {
            "text fp32 alone": alone,
            "text fp32 joined": joined,
            "text int8": served(root / "int8", tiny_text(1), pool, "int8"),
            "sensor classes": served(root / "classes", sensor(1, Task.CLASSIFICATION), pool),
            "sensor anomaly": served(root / "anomaly", sensor(1, Task.ANOMALY), pool),
            "sensor number": served(root / "number", sensor(1, Task.REGRESSION), pool),
        }


def assert_same(one: Sequence[Answer], other: Sequence[Answer]) -> None:
    """Labels are the same, scores within 1e-5 (relative above 1)."""
    for a, b in zip(one, other, strict=True):
        assert a.label == b.label
        assert abs(a.score - b.score) <= 1e-5 * max(1.0, abs(a.score))


def assert_independent(predictor: Predictor, rows: Sequence[Any], seed: int) -> None:
    """Alone, in a batch, in another order, and again: the same answers."""
    alone = [predictor.predict([row])[0] for row in rows]
    assert_same(alone, predictor.predict(rows))
    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)
    shuffled = predictor.predict([rows[n] for n in order])
    assert_same([alone[n] for n in order], shuffled)
    assert predictor.predict([rows[n] for n in order]) == shuffled


@pytest.mark.parametrize("variant", ["text fp32 alone", "text fp32 joined", "text int8"])
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.lists(MASKED, min_size=1, max_size=20), seed=st.integers(0, 99))
def test_texts_are_answered_whatever_their_batch_mates(
    variants: dict[str, Predictor], variant: str, rows: list[str], seed: int
) -> None:
    """Holds for every text variant, for texts of any length, the empty one included."""
    assert_independent(variants[variant], rows, seed)


@pytest.mark.parametrize("variant", ["sensor classes", "sensor anomaly"])
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(rows=st.lists(READINGS, min_size=1, max_size=40), seed=st.integers(0, 99))
def test_readings_are_answered_whatever_their_batch_mates(
    variants: dict[str, Predictor], variant: str, rows: list[dict[str, float]], seed: int
) -> None:
    """Holds for every sensor variant, with readings missing or unknown."""
    assert_independent(variants[variant], rows, seed)


@pytest.mark.parametrize("serve", ["fp32", "int8"])
def test_minilm_answers_do_not_depend_on_batch_mates(
    tmp_path: Path, pool: ThreadPoolExecutor, serve: str
) -> None:
    """Holds for the model that ships, under the policy that loading it chose."""
    predictor = served(tmp_path, minilm_text(1), pool, serve)
    assert serve == "fp32" or predictor.policy is Policy.SINGLE
    assert_independent(predictor, [*TEXTS[:20], TEXTS[0] * 9, ""], 1)


def test_no_gpu_is_looked_for_where_the_graph_is_a_processors() -> None:
    """FP32 goes to the best provider there is; INT8, which CUDA is slower at, to the processor."""
    assert choices("int8") == PROCESSOR
    found = choices("fp32")
    assert {CUDA, TENSORRT} <= {*found.usable, *found.missing}


def test_dynamic_int8_joined_would_change_answers(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    """Why INT8 is served one row a run: joined, the same rows get other scores."""
    predictor = served(tmp_path, tiny_text(1), pool, "int8")
    alone = predictor.predict(TEXTS)
    predictor.policy = Policy.EQUAL_LENGTH
    joined = predictor.predict(TEXTS)
    assert max(abs(a.score - b.score) for a, b in zip(alone, joined, strict=True)) > 1e-3


def test_a_missing_reading_takes_the_median_and_an_unknown_one_is_ignored(
    variants: dict[str, Predictor],
) -> None:
    """The medians come from the release."""
    predictor = variants["sensor anomaly"]
    whole, partial = predictor.predict(
        [{"cpu": 61.0, "disk": 10.0, "memory": 30.0}, {"cpu": 61.0, "fan": 9.0}]
    )
    assert whole == partial


def test_readings_by_name_and_in_order_are_answered_alike(variants: dict[str, Predictor]) -> None:
    """A matrix in the features' order, NaN for what is missing, and a mapping get the same answers."""
    matrix = np.array([[61.0, np.nan, 30.0], [1.0, 2.0, 3.0], [np.nan] * 3])  # (N, F)
    named = [
        {name: value for name, value in zip(FEATURES, row, strict=True) if not np.isnan(value)}
        for row in matrix.tolist()
    ]
    for name in ("sensor classes", "sensor anomaly", "sensor number"):
        predictor = variants[name]
        assert isinstance(predictor, SensorPredictor)
        assert predictor.predict_values(matrix) == predictor.predict(named)


def test_an_extreme_reading_is_an_anomaly_and_a_typical_one_is_not(variants: dict[str, Predictor]) -> None:
    """The label follows the threshold 1."""
    answers = variants["sensor anomaly"].predict([{}, {"cpu": 900.0}])
    assert [answer.label for answer in answers] == ["normal", "anomaly"]
    assert answers[1].score >= 1.0 > answers[0].score


def test_probabilities_belong_to_known_labels(variants: dict[str, Predictor]) -> None:
    """A classifier's score is the probability of the likeliest of its labels."""
    for answer in variants["text int8"].predict(TEXTS):
        assert answer.label in LABELS
        assert 1 / len(LABELS) <= answer.score <= 1.0


def test_a_long_text_is_cut_at_the_releases_limit(variants: dict[str, Predictor]) -> None:
    """What lies beyond the last token does not count."""
    head = "get cart " * 40
    first, second = variants["text fp32 alone"].predict([head, head + "<script>"])
    assert first == second


def test_a_reading_beyond_float32_has_no_answer(variants: dict[str, Predictor]) -> None:
    """An infinity inside the graph is an error, never a score."""
    with pytest.raises(BadAnswer, match="finite"):
        variants["sensor anomaly"].predict([{"cpu": 1e300}])


def test_a_graph_of_the_other_family_is_refused(tmp_path: Path, pool: ThreadPoolExecutor) -> None:
    """Inputs and outputs are checked by name."""
    network, readings = tiny_text(1), sensor(1, Task.CLASSIFICATION)
    wrong = lay_out(tmp_path, readings, model="m", version=1, task=Task.ANOMALY, labels=())
    with pytest.raises(BadRelease, match="gives 'score'; this graph gives 'logits'"):
        make(open_release(wrong), pool)
    other = lay_out(tmp_path, network, model="m", version=2)
    manifest = codec.decode((folder_of(other) / "manifest.json").read_bytes(), Manifest)
    as_sensor = msgspec.structs.replace(manifest, family="sensor", features=FEATURES)
    with pytest.raises(BadRelease, match="takes"):
        make(open_release(seal(folder_of(other), as_sensor)), pool)
