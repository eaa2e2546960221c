"""From rows to a release folder with the real encoder: first model, increment, what serving will find."""

import hashlib
import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime as ort
import pytest
import torch
from tokenizers import Tokenizer

from schemas import codec
from schemas.config import Stream
from schemas.errors import Fatal
from schemas.release import Manifest, Release, State
from tests.unit.trainers import samples
from trainers import folders, golden
from trainers.bootstrap import train_first
from trainers.dataset import from_memory
from trainers.explain.answer import explain
from trainers.explain.classes import by_class
from trainers.model import NETWORK, folder_of, open_model
from trainers.outcome import Job
from trainers.perceptron import Perceptron
from trainers.pipeline import train

REQUESTS = Stream.model_validate(
    {"kind": "api", "model": {"learn": {"min_labels": 50}}, "gate": {"p99_ms": 500}}
)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """Leave the other core to the other tests."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose encoder is exported once for the module."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def first(home: Path) -> Release:
    """Version 1: knows normal requests and SQL injection."""
    return train_first(home, "requests", REQUESTS, samples.requests(1, normal=120, sqli=120))


def _job(
    home: Path, config: Stream, champion: Release | None, alert: str | None = None, stream: str = "requests"
) -> Job:
    run = home / "run"
    run.mkdir(exist_ok=True)
    return Job(
        home=str(home),
        stream=stream,
        config=config.model_dump_json(),
        run=str(run),
        champion=champion,
        alert=alert,
    )


def test_the_first_release_is_complete_and_true_to_its_manifest(home: Path, first: Release) -> None:
    """Every file has the manifest's digest, the record the manifest's, and both graphs are there."""
    folders.verify(home / "releases", "requests", 1)
    manifest, digest = folders.read_manifest(home / "releases", "requests", 1)
    assert (first.version, first.sha256, first.state, first.parent) == (1, digest, State.RELEASED, None)
    assert manifest.variants == {"fp32": "model.fp32.onnx", "int8": "model.int8.onnx"}
    assert {"tokenizer.json", "golden.json", "model_card.md", "training/network.safetensors"} < set(
        manifest.files
    )
    assert manifest.labels == ("normal", "sqli")
    assert manifest.metrics["accuracy"] > 0.95
    kept = golden.load(home, "requests")
    assert kept is not None and manifest.golden_set == kept.version
    assert {row.label for row in kept.rows} == {"normal", "sqli"}


def test_a_base_with_another_tokenizer_is_another_encoder(home: Path, first: Release, tmp_path: Path) -> None:
    """Who exchanges the tokenizer below a model is told so when the model is opened to continue from it."""
    manifest, _ = folders.read_manifest(home / "releases", "requests", 1)
    folder = tmp_path / "1"
    shutil.copytree(folder_of(first.uri), folder)
    changed = msgspec.structs.replace(manifest, tokenizer="0" * 64)
    (folder / "manifest.json").write_bytes(codec.encode(changed))
    assert len(manifest.tokenizer) == 64
    with pytest.raises(Fatal, match="the tokenizer of base 'minilm' is not the one that requests 1"):
        open_model(folder, home, 1)


def test_a_changed_file_is_found_before_a_promotion(home: Path, first: Release, tmp_path: Path) -> None:
    """One flipped byte in a released file is named."""
    copy = tmp_path / "requests" / "1"
    copy.parent.mkdir()
    shutil.copytree(folder_of(first.uri), copy)
    card = copy / "model_card.md"
    card.write_bytes(card.read_bytes() + b".")
    with pytest.raises(Fatal, match=r"model_card\.md is not the file"):
        folders.verify(tmp_path, "requests", 1)


def test_the_golden_answers_come_from_the_served_graph(first: Release) -> None:
    """Running the served graph as serving does, row by row, gives golden.json again."""
    folder = folder_of(first.uri)
    manifest = codec.decode((folder / "manifest.json").read_bytes(), Manifest)
    golden = json.loads((folder / "golden.json").read_text())
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(manifest.max_tokens)
    running = ort.InferenceSession(
        str(folder / manifest.variants[manifest.serve]), providers=["CPUExecutionProvider"]
    )
    assert 8 <= len(golden["inputs"]) <= 16
    assert set(golden["labels"]) == {"normal", "sqli"}
    for text, label, score in zip(golden["inputs"], golden["labels"], golden["scores"], strict=True):
        ids = np.array([tokenizer.encode(text).ids], dtype=np.int64)
        logits = running.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0][0]
        share = np.exp(logits - logits.max())
        share /= share.sum()
        assert manifest.labels[int(share.argmax())] == label
        assert share.max() == pytest.approx(score, abs=1e-4)


def test_an_increment_learns_a_new_class_and_keeps_the_old_ones(home: Path, first: Release) -> None:
    """With cross-site scripting added, version 2 regains what version 1 lost, at no cost to old rows."""
    old = samples.requests(1, normal=120, sqli=120)
    recent = samples.requests(2, after_s=1000, normal=100, sqli=60, xss=90)
    steps: list[str] = []
    outcome = train(_job(home, REQUESTS, first, alert="alert-1"), from_memory(recent, old), steps.append)
    assert outcome.released, outcome.reasons
    release = outcome.release
    assert (release.version, release.parent, release.alert) == (2, 1, "alert-1")
    assert outcome.metrics["champion_accuracy"] < 0.75
    assert outcome.metrics["accuracy"] > 0.95
    assert outcome.metrics["forgetting"] <= 0.01
    assert outcome.metrics["parity"] <= 1e-4
    assert outcome.seconds["export"] < 10
    assert steps[:1] == ["open_champion"]
    assert (
        steps.index("training") < steps.index("export") < steps.index("evaluating") < steps.index("release")
    )
    manifest, _ = folders.read_manifest(home / "releases", "requests", 2)
    assert manifest.labels == ("normal", "sqli", "xss")
    kept = golden.load(home, "requests")
    assert kept is not None and manifest.golden_set == kept.version
    assert outcome.metrics["golden_forgetting"] <= 0.01
    report = json.loads((folder_of(release.uri) / folders.CARD).read_text())
    assert {"f1/xss", "roc_auc", "ece", "brier", "mcnemar_p", "not_worse_p"} < set(report["metrics"])
    assert report["golden_set"] == kept.version
    assert release.training is not None
    assert set(release.training.offsets) == {"events.raw:0", "events.raw:1"}
    assert release.training.rows == len(from_memory(recent, old).training)


def test_the_card_says_what_speaks_for_each_class_and_does_so_again(home: Path, first: Release) -> None:
    """Words that make an injection speak for it; a second look says the same, in numbers too."""
    card = json.loads((folder_of(first.uri) / folders.CARD).read_bytes())
    told = {spoken["label"]: spoken for spoken in card["explanations"]["classes"]}
    assert set(told) == {"normal", "sqli"} and card["explanations"]["unit"] == "log-odds"
    marks = {"<num>", "union", "select", "from", "password", "drop", "table", "sleep", "or", "'", "--", "'='"}
    assert marks & {word["name"] for word in told["sqli"]["speaks_for"][:5]}
    assert told["sqli"]["rows"] >= 3
    text = (folder_of(first.uri) / folders.CARD_TEXT).read_text()
    assert "## What speaks for each class" in text and "## Bias by source" in text
    data = from_memory(samples.requests(1, normal=120, sqli=120))
    model, _ = open_model(folder_of(first.uri), home, 1)
    again, and_again = (by_class(model, data, sound=True) for _ in range(2))
    assert again == and_again and again.classes
    held = data.recent_held_out
    texts = [" ".join(row.text for row in held if row.label == one.label) for one in held]
    long = [msgspec.structs.replace(r, text=f"{r.id} {t}") for r, t in zip(held, texts, strict=True)]
    of_long = by_class(model, msgspec.structs.replace(data, recent_held_out=long), sound=True)
    assert {spoken.label for spoken in of_long.classes} == {"normal", "sqli"}, "a part of each is explained"


def test_a_planted_word_is_the_reason_of_an_answer(home: Path) -> None:
    """Where one word alone makes a class, it says most for it, and as much against the other."""
    rows = [
        (
            msgspec.structs.replace(event, text=event.text.replace("GET", "GET" if mark else "PUT")),
            "read" if mark else "write",
        )
        for number, (event, _) in enumerate(samples.requests(8, normal=200))
        if event.text.startswith("GET")
        for mark in [number % 2]
    ]
    release = train_first(home, "planted", REQUESTS, rows)
    folder = folder_of(release.uri)
    found = explain(folder, home, text="PUT /search?q=lamp desk")
    assert found.answer == found.label == "write" and found.text[: found.read] == found.text
    assert max(found.reasons, key=lambda reason: reason.share).name == "PUT"
    assert found.error <= found.bound and not found.notes
    total = found.baseline + sum(reason.share for reason in found.reasons)
    assert total == pytest.approx(found.output, abs=found.bound + 1e-4)
    other = explain(folder, home, text="PUT /search?q=lamp desk", label="read")
    assert other.answer == "write" and other.output == pytest.approx(-found.output, abs=1e-3)
    assert min(other.reasons, key=lambda reason: reason.share).name == "PUT"
    assert explain(folder, home, text="PUT /search?q=lamp desk") == found
    with pytest.raises(Fatal, match="never answers 'x'; it answers read, write"):
        explain(folder, home, text="PUT /", label="x")
    with pytest.raises(Fatal, match="reads texts"):
        explain(folder, home, values={"cpu": 1.0})


def test_an_increment_without_anything_new_is_rejected(home: Path, first: Release) -> None:
    """Where the champion is right already nothing is gained, so it stays; the number is used up."""
    rows = samples.requests(3, after_s=2000, normal=60, sqli=60)
    outcome = train(_job(home, REQUESTS, first, alert="alert-2"), from_memory(rows))
    assert not outcome.released
    assert outcome.release.state is State.REJECTED
    assert "not significant" in outcome.reasons[0]
    card = json.loads((home / "run" / folders.CARD).read_bytes())
    assert not card["released"] and card["explanations"]["classes"], "rejected ones are explained too"
    assert not (home / "releases" / "requests" / str(outcome.release.version)).exists()
    assert folders.reserve(home, home / "releases", "requests") == outcome.release.version + 1


def test_a_candidate_taught_wrong_labels_is_rejected(home: Path, first: Release) -> None:
    """Swapped labels in what it learns from make it worse on old rows; the gate says so."""
    swap = {"normal": "sqli", "sqli": "normal"}
    wrong = [(event, swap[label]) for event, label in samples.requests(4, after_s=3000, normal=80, sqli=80)]
    outcome = train(_job(home, REQUESTS, first), from_memory(wrong, samples.requests(5, normal=60, sqli=60)))
    assert not outcome.released
    assert any("forgets" in reason for reason in outcome.reasons)


@pytest.mark.parametrize("mode", ["top", "lora"])
def test_the_encoder_can_be_tuned_and_the_next_increment_continues_from_it(
    mode: str, home: Path, first: Release, tmp_path: Path
) -> None:
    """Modes below the head release a tuned encoder, whose weights lie in the release and open again."""
    top = Stream.model_validate(
        {"kind": "api", "model": {"learn": {"mode": mode, "epochs": 20}}, "gate": {"p99_ms": 500}}
    )
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "encoders").symlink_to(home / "trainer" / "encoders")
    release = train_first(tmp_path, "requests", top, samples.requests(7, normal=20, sqli=20))
    manifest, _ = folders.read_manifest(tmp_path / "releases", "requests", release.version)
    assert "training/backbone.safetensors" in manifest.files
    assert manifest.metrics["parity"] <= 1e-4
    champion, _ = open_model(folder_of(release.uri), tmp_path, 1)
    assert champion.encoder is not None
    assert champion.backbone is not None


def test_a_sensor_classifier_regains_its_accuracy_after_a_shift(tmp_path: Path) -> None:
    """When every sensor moves, the increment is right again; the release names features and medians."""
    stream = Stream.model_validate({"kind": "sensor", "model": {}, "gate": {"max_forgetting": 0.02}})
    old = samples.readings(1, 400)
    first = train_first(tmp_path, "host", stream, old)
    recent = samples.readings(2, 400, shift=1.2, after_s=5000)
    outcome = train(_job(tmp_path, stream, first, stream="host"), from_memory(recent, old))
    assert outcome.released, outcome.reasons
    assert outcome.metrics["accuracy"] > outcome.metrics["champion_accuracy"] + 0.1
    manifest, _ = folders.read_manifest(tmp_path / "releases", "host", 2)
    assert manifest.features == ("cpu", "fan_rpm", "memory_mb", "temperature")
    assert set(manifest.normaliser["median"]) == set(manifest.features)
    assert manifest.variants == {"fp32": "model.fp32.onnx"}


def test_a_broken_candidate_ends_its_run_and_its_card_says_why_nothing_is_explained(tmp_path: Path) -> None:
    """What continues from a champion of NaN is NaN: rejected, with a card, and no error on the way."""
    stream = Stream.model_validate({"kind": "sensor", "model": {}})
    first = train_first(tmp_path, "host", stream, samples.readings(1, 300))
    folder = folder_of(first.uri)
    network = Perceptron.load(folder / NETWORK)
    with torch.no_grad():
        next(iter(network.layers.parameters())).fill_(float("nan"))
    network.save(folder / NETWORK)
    manifest, _ = folders.read_manifest(tmp_path / "releases", "host", 1)
    digest = hashlib.sha256((folder / NETWORK).read_bytes()).hexdigest()
    changed = msgspec.structs.replace(manifest, files={**manifest.files, NETWORK: digest})
    (folder / "manifest.json").write_bytes(codec.encode(changed))
    rows = from_memory(samples.readings(2, 300, after_s=5000))
    outcome = train(_job(tmp_path, stream, first, stream="host"), rows)
    assert not outcome.released
    card = json.loads((tmp_path / "run" / folders.CARD).read_bytes())
    assert card["explanations"]["classes"] == [] and "broken" in card["explanations"]["note"]
    assert card["bias"] == []


def test_an_anomaly_model_learns_without_labels(tmp_path: Path) -> None:
    """The autoencoder's score is below 1 for most normal rows and at least 1 for a row that is far out."""
    stream = Stream.model_validate({"kind": "sensor", "model": {"task": "anomaly"}})
    release = train_first(tmp_path, "host", stream, [(event, None) for event, _ in samples.readings(3, 300)])
    folder = folder_of(release.uri)
    running = ort.InferenceSession(str(folder / "model.fp32.onnx"), providers=["CPUExecutionProvider"])
    normal = [[e.values[f] for f in sorted(e.values)] for e, _ in samples.readings(4, 200)]
    scores = running.run(["score"], {"values": np.array(normal, dtype=np.float32)})[0]
    assert scores.shape == (200,)
    assert (scores < 1).mean() > 0.97
    far = np.array([[100.0, 0.0, 90000.0, -20.0], [np.nan, np.nan, 90000.0, 50.0]], dtype=np.float32)
    assert (running.run(["score"], {"values": far})[0] >= 1).all()
