"""Every task from rows to files on tiny bases: it learns, and its graph answers as the tuned network does."""

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from tokenizers import Tokenizer
from transformers import AutoModelForTokenClassification

from schemas.errors import Fatal
from tests.unit.trainers import tiny
from trainers.recipe import Mode, Recipe
from trainers.tasks.examples import Readings, Text
from trainers.tasks.kinds import Kind
from trainers.tasks.training import CHECKPOINT, Order, Watcher, train
from trainers.tasks.work import Surroundings


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Where encoders and vectors are kept for the module."""
    return tmp_path_factory.mktemp("home")


def _train(kind, base, examples, out, home, tests=(), features=(), **recipe):
    order = Order(
        kind=kind, base=base, recipe=Recipe(max_tokens=32, **recipe), features=tuple(features),
        window=4, clusters=3,
    )  # fmt: skip
    out.mkdir(exist_ok=True)
    return train(order, examples, tests, out, Surroundings(home), Watcher())


def _run(path, text, tokenizer_path):
    tokenizer = Tokenizer.from_file(str(tokenizer_path))
    ids = tokenizer.encode(text).ids if isinstance(text, str) else tokenizer.encode(*text).ids
    running = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), dtype=np.int64)}
    return running.run(None, given)


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_texts_are_classified_in_every_mode(mode, architecture, bases, home, tmp_path):
    """Accuracy on rows it never saw is far above a third; both graphs agree with torch; labels are told."""
    epochs = 40 if mode is Mode.HEAD else 2
    trained = _train(
        Kind.CLASSIFICATION,
        bases[architecture],
        tiny.texts(1, 160),
        tmp_path / "out",
        home,
        mode=mode,
        epochs=epochs,
    )
    report = trained.report
    assert report.metrics["accuracy"] > 0.8
    assert report.export["parity"] <= 1e-4
    assert report.model["labels"] == ("person", "place", "thing")
    assert report.rows == {"training": 128, "validation": 16, "test": 16}
    assert (report.weights["tuned"] < report.weights["all"]) == (mode in {Mode.TOP, Mode.LORA})
    assert not (tmp_path / "out" / CHECKPOINT).exists()
    assert json.loads((tmp_path / "out" / "report.json").read_bytes())["metrics"] == report.metrics
    logits = _run(
        tmp_path / "out" / "model.fp32.onnx", "sold lima oslo", tmp_path / "out" / "tokenizer.json"
    )[0]
    assert report.model["labels"][int(logits.argmax())] == "place"


@pytest.mark.parametrize(("architecture", "mode"), [("distilbert", Mode.FULL), ("roberta", Mode.LORA)])
def test_words_are_tagged(architecture, mode, bases, home, tmp_path):
    """Entities are found whole, the graph has logits for each piece, and the folder opens in transformers."""
    trained = _train(
        Kind.TOKENS, bases[architecture], tiny.tagged(1, 200), tmp_path, home,
        mode=mode, epochs=10, batch=8, encoder_rate=5e-3, head_rate=1e-2,
    )  # fmt: skip
    assert trained.report.metrics["entity_f1"] > 0.9
    assert trained.report.export["parity"] <= 1e-4
    labels = trained.report.model["labels"]
    assert labels == ("B-LOC", "B-PER", "I-LOC", "O")
    logits = _run(tmp_path / "model.onnx", "emma sold quito", tmp_path / "tokenizer.json")[0]
    assert logits.shape[2] == 4
    network = AutoModelForTokenClassification.from_pretrained(tmp_path / "network", local_files_only=True)
    assert network.config.id2label == dict(enumerate(labels))


def test_answers_are_found(bases, home, tmp_path):
    """The one place of a context is found, by the graph too, which takes BERT's segment ids."""
    trained = _train(
        Kind.QA, bases["bert"], tiny.questions(1, 240), tmp_path, home,
        mode=Mode.FULL, epochs=8, batch=16, encoder_rate=3e-3, head_rate=1e-2,
    )  # fmt: skip
    assert trained.report.metrics["f1"] >= trained.report.metrics["exact_match"] > 0.7
    assert trained.report.export["parity"] <= 1e-4
    running = ort.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    assert [given.name for given in running.get_inputs()] == ["input_ids", "attention_mask", "token_type_ids"]
    assert [found.name for found in running.get_outputs()] == ["start_logits", "end_logits"]


@pytest.mark.parametrize(
    ("kind", "architecture", "mode"),
    [(Kind.MLM, "bert", Mode.FULL), (Kind.MLM, "distilbert", Mode.LORA), (Kind.CLM, "gpt2", Mode.TOP)],
)
def test_language_models_get_less_perplexed(kind, architecture, mode, bases, home, tmp_path):
    """Perplexity on texts it never saw is lower than before; the graph's logits cover the vocabulary."""
    examples = [Text(text) for text in tiny.corpus() * 2]
    slow = mode is Mode.LORA  # adapters begin at nothing, under a head that does not learn
    trained = _train(
        kind, bases[architecture], examples, tmp_path, home, mode=mode, batch=8, rank=16,
        epochs=12 if slow else 4, encoder_rate=3e-3 if slow else 5e-3,
    )  # fmt: skip
    share = trained.report.metrics["perplexity"] / trained.report.before["perplexity"]
    assert share < (0.85 if slow else 0.7)
    assert trained.report.export["parity"] <= 1e-4
    logits = _run(tmp_path / "model.onnx", "anna sold the lamp", tmp_path / "tokenizer.json")[0]
    assert logits.shape[2] == Tokenizer.from_file(str(tmp_path / "tokenizer.json")).get_vocab_size()


@pytest.mark.parametrize("kind", [Kind.MLM, Kind.CLM])
def test_a_language_model_has_no_head_to_tune(kind, bases, home, tmp_path):
    """Mode head is refused with the modes that there are."""
    base = bases["bert" if kind is Kind.MLM else "gpt2"]
    with pytest.raises(Fatal, match="use top-k, lora or full"):
        _train(kind, base, [Text("anna sold the lamp")] * 30, tmp_path, home, mode=Mode.HEAD)


def test_texts_are_grouped(bases, home, tmp_path):
    """Centroids find the kinds of texts without their labels; the graph names the nearest one."""
    examples = [Text(text.text, text.label) for text in tiny.texts(4, 150)]
    trained = _train(Kind.CLUSTERING, bases["bert"], examples, tmp_path, home)
    assert trained.report.metrics["silhouette"] > 0.05
    sizes = [group["size"] for group in trained.report.model["clusters"]]
    assert sum(sizes) == trained.report.rows["training"]
    distance, cluster = _run(tmp_path / "model.onnx", examples[0].text, tmp_path / "tokenizer.json")
    assert distance.shape == (1, 3) and cluster[0] == distance[0].argmin()


def _readings(seed, count):
    chance = np.random.default_rng(seed)
    rows = []
    for step in range(count):
        load = np.sin(step / 5.0) + chance.normal(0, 0.05)
        noise = float(chance.normal()) if step % 17 else float("nan")
        rows.append(Readings((float(load), noise), "up" if load > 0 else "down", float(300 + 50 * load)))
    return rows


@pytest.mark.parametrize("kind", [Kind.SENSOR_CLASSIFICATION, Kind.REGRESSION, Kind.FORECAST, Kind.ANOMALY])
def test_readings_are_learnt(kind, home, tmp_path):
    """Classes, numbers in their own unit, the next value, what is far out; missing readings do no harm."""
    trained = _train(
        kind, "", _readings(1, 600), tmp_path, home, features=("load", "noise"), mode=Mode.FULL, epochs=25
    )
    metrics = trained.report.metrics
    assert trained.report.export["parity"] <= 1e-4
    if kind is Kind.SENSOR_CLASSIFICATION:
        assert metrics["accuracy"] > 0.93
    elif kind is Kind.ANOMALY:
        assert metrics["flagged"] < 0.1 and metrics["pushed_found"] > 0.9
    else:
        assert metrics["r2"] > 0.9 and metrics["mae"] < 15
        assert len(trained.report.model["features"]) == (8 if kind is Kind.FORECAST else 2)
    running = ort.InferenceSession(str(tmp_path / "model.fp32.onnx"), providers=["CPUExecutionProvider"])
    values = np.zeros((5, len(trained.report.model["features"])), dtype=np.float32)
    assert len(running.run(None, {"values": values})[0]) == 5


def test_one_label_is_no_classification(bases, home, tmp_path):
    """A file in which every row is of one class is refused before anything is trained."""
    with pytest.raises(Fatal, match="one and the same label"):
        _train(Kind.CLASSIFICATION, bases["bert"], [Text("anna", "a")] * 30, tmp_path, home)


def test_a_base_without_a_tokenizer_says_how_to_get_one(bases, home, tmp_path):
    """A folder that lacks tokenizer.json is refused with the line that writes one."""
    folder = tmp_path / "base"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((Path(bases["bert"]) / name).read_bytes())
    with pytest.raises(Fatal, match=r"has no tokenizer\.json; write one"):
        _train(Kind.TOKENS, str(folder), tiny.tagged(1, 30), tmp_path / "out", home)
