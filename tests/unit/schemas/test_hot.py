"""Which keys running workers take over: the table names keys that there are, and workers that there are."""

import pytest

from infra.cli.worker import Worker
from infra.runtime.settings import parse
from schemas.config import Headrace
from schemas.hot import ALL, WORKERS, matches
from schemas.section import Section

FULL = '[streams.x]\nkind = "sensor"\n[streams.x.model]\n'


def keys_of(section: Section, prefix: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Return every key of a section and those below it."""
    found: set[tuple[str, ...]] = set()
    for name in type(section).model_fields:
        value, key = getattr(section, name), (*prefix, name)
        found.add(key)
        if isinstance(value, Section):
            found |= keys_of(value, key)
        elif name == "streams":
            for stream, inner in value.items():
                found |= {(*key, stream)} | keys_of(inner, (*key, stream))
    return found


@pytest.fixture(scope="module")
def full() -> Headrace:
    """A file with every section."""
    return parse(FULL, "a test")


@pytest.mark.parametrize("worker", WORKERS)
def test_each_pattern_is_of_a_key_that_there_is(worker: str, full: Headrace):
    """A key that is renamed takes its pattern with it."""
    keys = keys_of(full)
    for pattern in (*ALL.hot, *ALL.cold, *WORKERS[worker].hot, *WORKERS[worker].cold):
        assert any(matches(key, [pattern]) for key in keys), pattern


def test_there_is_an_entry_for_every_worker():
    """No worker is forgotten."""
    assert set(WORKERS) == {worker.value for worker in Worker}


def test_every_key_of_a_stream_is_heeded_by_somebody(full: Headrace):
    """What is changed is taken over or named, by one worker at least."""
    leaves = {key for key in keys_of(full) if not any(other[:-1] == key for other in keys_of(full))}
    for key in leaves - {("alerts",)}:
        assert any(one.takes(key) or one.needs_restart(key) for one in WORKERS.values()), key


def test_what_is_named_cold_is_not_taken_over():
    """One key of a section that is hot may be cold."""
    streams = WORKERS["streams"]
    assert streams.takes(("streams", "x", "dedupe", "window"))
    assert not streams.takes(("streams", "x", "dedupe", "rekey"))
    assert streams.needs_restart(("streams", "x", "dedupe", "rekey"))
    assert not streams.needs_restart(("streams", "x", "drift", "input", "psi"))
