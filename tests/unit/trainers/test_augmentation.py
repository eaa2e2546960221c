"""Variants of rare classes: how many, how they differ, and that the test never meets them."""

import random
import sys
from collections import Counter
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.config import Learn
from schemas.errors import Fatal
from tests.unit.trainers import samples
from trainers.augmentation import augmenter as registry
from trainers.augmentation.augmenter import augmenter
from trainers.augmentation.balance import MARK, VARIANTS, variants, wanted
from trainers.augmentation.eda import Eda
from trainers.augmentation.readings import Readings
from trainers.augmentation.synonyms import Synonyms
from trainers.candidate import augmented
from trainers.dataset import Dataset, from_memory
from trainers.outcome import Job

COUNTS = st.dictionaries(st.sampled_from("abcde"), st.integers(1, 5000), min_size=1)


def _imbalanced() -> Dataset:
    return from_memory(samples.requests(1, normal=600, sqli=30))


def _readings() -> Dataset:
    rare = [(event, "rare") for event, _ in samples.readings(2, 20, after_s=200)]
    return from_memory([*samples.readings(1, 900), *rare])


def test_classes_in_balance_get_none() -> None:
    """By default nothing is made up unless a class is rarer than one in ten of the largest."""
    assert variants(from_memory(samples.requests(1, normal=300, sqli=60)), Learn(), Eda) == []
    assert variants(_imbalanced(), Learn(augment="off"), Eda) == []
    assert variants(_imbalanced(), Learn(augment_ratio=50), Eda) == []


def test_a_rare_class_gets_variants_of_its_training_rows_only() -> None:
    """Up to a tenth of the largest; each names its row, and none is a text that is tested on."""
    data = _imbalanced()
    made = variants(data, Learn(), Eda)
    counts = Counter(row.label for row in data.training)
    assert 0 < len(made) <= counts["normal"] // 10 - counts["sqli"]
    assert {row.label for row in made} == {"sqli"}
    parents = {row.id for row in data.training if row.label == "sqli"}
    assert {row.id.partition(MARK)[0] for row in made} <= parents
    held_out = {row.text for row in (*data.validation, *data.test)}
    known = {row.text for row in data.training if row.label == "sqli"}
    assert not {row.text for row in made} & (held_out | known)
    assert len({row.text for row in made}) == len(made)


def test_validation_test_and_version_stay_as_they_were() -> None:
    """The pipeline's dataset with variants differs in nothing else."""
    data = _imbalanced()
    config = '{"kind": "api", "model": {"learn": {"augment": "on"}}}'
    more = augmented(Job(home="/", stream="requests", config=config, run="/"), data)
    assert len(more.variants) > 50
    assert (more.training, more.validation, more.test) == (data.training, data.validation, data.test)
    assert more.sha256() == data.sha256()
    anomaly = '{"kind": "sensor", "model": {"task": "anomaly", "learn": {"augment": "on"}}}'
    assert augmented(Job(home="/", stream="host", config=anomaly, run="/"), data).variants == []


def test_variants_come_again() -> None:
    """The same seed makes the same ones, so that their cached vectors are used again; another seed others."""
    data = _imbalanced()
    assert variants(data, Learn(), Eda) == variants(data, Learn(), Eda)
    assert variants(data, Learn(), Eda) != variants(data, Learn(seed=8), Eda)


@given(COUNTS, st.sampled_from(["auto", "on", "off"]), st.floats(1.5, 100))
def test_how_many_are_wanted_is_bounded(counts: dict[str, int], augment: str, ratio: float) -> None:
    """Never more than four a row, never beyond the largest class, none for the largest."""
    learn = Learn.model_validate({"augment": augment, "augment_ratio": ratio})
    found = wanted(counts, learn)
    assert all(0 < number <= VARIANTS * counts[label] for label, number in found.items())
    assert all(counts[label] + number <= max(counts.values()) for label, number in found.items())
    assert augment != "off" or not found


@given(st.text(alphabet="ab cd<>'\n", max_size=80), st.integers(0, 2**32))
def test_eda_changes_a_tenth_of_the_words(text: str, seed: int) -> None:
    """Words are swapped, left out or masked; none is made up but the mask."""
    varied = Eda().vary(text, random.Random(seed))
    before, after = Counter(text.split()), Counter(varied.split())
    assert set(after) <= {*before, "[MASK]"}
    changed = max(1, round(0.1 * len(text.split())))
    assert sum((before - after).values()) <= changed
    assert len(text.split()) >= 3 or varied == text


def test_readings_stay_in_the_range_of_their_class() -> None:
    """Variants are near their rows, none is out of what was seen, a missing reading stays missing."""
    rows = [row.values for row in _readings().training if row.label == "rare"]
    spread, chance = Readings(rows), random.Random(1)
    for row in rows:
        varied = spread.vary(row, chance)
        assert varied.keys() == row.keys() and varied != row
    several = [spread.vary(rows[0], chance)["cpu"] for _ in range(200)]
    seen = [row["cpu"] for row in rows]
    assert min(seen) <= min(several) and max(several) <= max(seen)
    assert np.std(several) < np.std(seen)
    assert "cpu" not in spread.vary({"fan_rpm": 1500.0}, chance)


def test_a_rare_state_of_a_machine_gets_variants() -> None:
    """Sensors need no augmenter of texts: none is made, so none can be missing."""

    def none() -> Eda:
        raise AssertionError("no text here")

    made = variants(_readings(), Learn(augment_with="not_there"), none)
    assert made and {row.label for row in made} == {"rare"}


def test_synonyms_are_near_words_of_the_base_model() -> None:
    """From the packaged base's own vectors, without network; masks and unknown names stay."""
    synonyms = Synonyms.of("minilm")
    assert set(synonyms.neighbours("lamp")) & {"lamps", "lantern", "light", "candle", "lights"}
    assert synonyms.neighbours("xqzzyq") == []
    text = "GET /search?q=lamp and a garden chair <num>"
    varied = synonyms.vary(text, random.Random(3))
    assert varied != text and "<num>" in varied
    assert synonyms.vary("xqzzyq <num> 17", random.Random(3)) == "xqzzyq <num> 17"


def test_synonyms_of_another_kind_of_base_are_refused(tmp_path: Path) -> None:
    """A base without such vectors is an error that names the way out."""
    from safetensors.numpy import save_file

    save_file({"x": np.zeros(3, dtype=np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(Fatal, match="Choose 'eda'"):
        augmenter("synonyms", str(tmp_path))


def test_back_translation_that_is_not_installed_says_so() -> None:
    """The plug-in's name, what is there, and where a plug-in is declared."""
    with pytest.raises(Fatal, match=r"there are: eda, synonyms.*headrace\.augmenters"):
        augmenter("back_translation", "minilm")


class Shouting:
    """A plug-in, as another package would have it."""

    def __init__(self, base: str) -> None:
        if base == "broken":
            raise RuntimeError("no translation model at hand")

    def vary(self, text: str, chance: random.Random) -> str:
        """Return the text in capitals."""
        return text.upper()


def test_a_plug_in_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever installs one names it in the configuration; one that cannot start is told with its reason."""
    monkeypatch.setitem(sys.modules, "shouting", sys.modules[__name__])
    point = EntryPoint("back_translation", "shouting:Shouting", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == registry.GROUP else [])
    made = variants(_imbalanced(), Learn(), lambda: augmenter("back_translation", "minilm"))
    assert made and all(row.text.isupper() for row in made)
    with pytest.raises(Fatal, match="no translation model at hand"):
        augmenter("back_translation", "broken")
