"""The catalog's generator: what it makes of a contract, of a duration and of a stale folder."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from schemas import jsonschemas, publish
from schemas.clean import Clean
from schemas.dead import Dead
from schemas.drift import DriftAlert


def test_rendering_twice_gives_the_same_bytes() -> None:
    """The catalog depends on the contracts alone."""
    assert publish.render() == publish.render()


def test_writing_brings_a_folder_up_to_date(tmp_path: Path) -> None:
    """Missing, changed and superfluous files are put right, the others left alone."""
    publish.write(tmp_path)
    (tmp_path / "clean.schema.json").write_text("{}")
    (tmp_path / "label.schema.json").unlink()
    (tmp_path / "gone.schema.json").write_text("{}")
    changed = ["clean.schema.json", "gone.schema.json", "label.schema.json"]
    assert publish.stale(tmp_path) == changed
    assert publish.write(tmp_path) == changed
    assert publish.stale(tmp_path) == []


def test_check_says_that_the_catalog_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    """`--check` succeeds silently on the checked-in catalog."""
    assert publish.main(["--check"]) == 0
    assert capsys.readouterr().err == ""


def test_a_file_is_named_after_its_contract() -> None:
    """Class names become the names people type."""
    assert jsonschemas.file_stem(Clean) == "clean"
    assert jsonschemas.file_stem(DriftAlert) == "drift_alert"


def test_times_are_described_as_times() -> None:
    """A moment carries the `date-time` format, also inside a nested struct."""
    schema = jsonschemas.contract_schema(Dead)
    assert schema["properties"]["rejected_at"]["format"] == "date-time"
    release = json.loads(publish.render()["release.schema.json"])
    assert release["$defs"]["TrainingRange"]["properties"]["event_from"]["format"] == "date-time"


def test_draft_07_says_tuples_in_its_own_words() -> None:
    """Nested tuples are converted; the rest of a schema stays as it is."""
    pair: dict[str, Any] = {"type": "array", "prefixItems": [{"type": "string"}], "items": False}
    converted = jsonschemas.draft_07({"type": "array", "items": pair})
    assert converted["items"] == {"type": "array", "items": [{"type": "string"}], "additionalItems": False}


@pytest.mark.parametrize("window", ["7d", "90s", "250 ms", 60, 0.5])
def test_configuration_schema_takes_durations_in_both_forms(window: str | float) -> None:
    """An editor accepts what the loader accepts."""
    validator = Draft202012Validator(jsonschemas.config_schema())
    validator.validate({"streams": {"a": {"kind": "log", "dedupe": {"window": window}}}})


@pytest.mark.parametrize(
    "stream",
    [{}, {"kind": "video"}, {"kind": "log", "dedup": {}}, {"kind": "log", "dedupe": {"window": "a week"}}],
)
def test_configuration_schema_refuses_what_the_loader_refuses(stream: dict[str, Any]) -> None:
    """A missing kind, an unknown kind, a misspelt key and a wrong duration are all marked."""
    validator = Draft202012Validator(jsonschemas.config_schema())
    assert not validator.is_valid({"streams": {"a": stream}})
