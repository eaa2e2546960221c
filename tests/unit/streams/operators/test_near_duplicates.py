"""Near-duplicates of text: found in real lines by a labelled set, bounded in count and time, restorable.

The labelled set: a near-duplicate is a real line after one small edit (a number or a word changed, a word
inserted, up to a tenth of its end cut off). Distinct are real lines of which each has at least three in ten
words that another has not. Lines are from 40 characters on: of shorter ones, a changed word is half.
"""

import csv
import os
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.operators.near_duplicates import SHORTEST, NearDuplicates, rows_of_a_band, shingles, signature

DATA = Path(os.environ.get("HEADRACE_DATA", Path(__file__).parents[5] / "shared" / "data"))
WORD = re.compile(r"[^\W_]+")
THRESHOLD = 0.8
NOW = 1_773_480_000.0


class Pair(NamedTuple):
    """A line, and what an edit made of it."""

    line: str
    edit: str
    edited: str


def real_lines() -> Iterator[str]:
    """Yield the messages of four logs: Apache, HDFS, OpenSSH, and the requests of a web server."""
    for name in ("Apache", "HDFS", "OpenSSH"):
        with (DATA / "loghub" / f"{name}_2k.log_structured.csv").open(encoding="utf-8") as file:
            yield from (row["Content"] for row in csv.DictReader(file))
    log = (DATA / "elastic_http_logs" / "apache_logs").read_text(encoding="utf-8", errors="replace")
    yield from re.findall(r'"([A-Z]+ [^"]*?) HTTP/', log)


def distinct_lines(rng: random.Random, count: int) -> list[str]:
    """Draw lines of which none shares more than seven in ten words with another."""
    lines = list(real_lines())
    rng.shuffle(lines)
    chosen: list[tuple[str, frozenset[str]]] = []
    for line in lines:
        words = frozenset(WORD.findall(line.lower()))
        if len(line) < 40 or len(words) < 5:
            continue
        if all(len(words & other) <= 0.7 * max(len(words), len(other)) for _, other in chosen):
            chosen.append((line, words))
            if len(chosen) == count:
                break
    return [line for line, _ in chosen]


def edits(line: str, rng: random.Random) -> Iterator[Pair]:
    """Yield the line after each kind of small edit that it allows."""
    numbers = list(re.finditer(r"\d+", line))
    if numbers:
        at = rng.choice(numbers)
        digits = "".join(rng.choices("0123456789", k=len(at[0])))
        yield Pair(line, "number", line[: at.start()] + digits + line[at.end() :])
    at = rng.choice(list(WORD.finditer(line)))
    word = rng.choice(["retry", "server", "cache", "user", "worker", "event"])
    yield Pair(line, "word", line[: at.start()] + word + line[at.end() :])
    yield Pair(line, "insert", f"{line[: at.start()]}{word} {line[at.start() :]}")
    yield Pair(line, "tail", line[: len(line) - rng.randint(1, len(line) // 10)])


def test_precision_and_recall_on_real_lines():
    """At 0.8, of 400 distinct lines and 1,500 edited ones: precision at least .95, recall at least .94."""
    rng = random.Random(7)
    lines = distinct_lines(rng, 400)
    assert len(lines) == 400
    near = NearDuplicates(THRESHOLD, 3600.0, 1024)
    near.advance(NOW)
    false = 0
    for number, line in enumerate(lines):
        false += near.find("log", line) is not None
        near.add("log", str(number), line)
    pairs = [(number, pair) for number, line in enumerate(lines) for pair in edits(line, rng)]
    pairs = [(number, pair) for number, pair in pairs if pair.edited != pair.line]
    found = [(near.find("log", pair.edited), str(number)) for number, pair in pairs]
    right = sum(answer == truth for answer, truth in found)
    wrong = sum(answer is not None and answer != truth for answer, truth in found)
    assert len(pairs) > 1500
    assert right / (right + wrong + false) >= 0.95
    assert right / len(pairs) >= 0.94


def test_the_estimate_is_near_the_similarity():
    """The share of equal bytes, less chance, is within .15 of Jaccard's index on real lines."""
    rng = random.Random(3)
    errors = []
    for line in distinct_lines(rng, 100):
        for pair in edits(line, rng):
            one, other = shingles(pair.line), shingles(pair.edited)
            first, second = (
                np.frombuffer(signature(text), dtype=np.uint8) for text in (pair.line, pair.edited)
            )
            estimate = (np.mean(first == second) - 1 / 256) / (1 - 1 / 256)
            errors.append(estimate - len(one & other) / len(one | other))
    assert max(map(abs, errors)) < 0.15
    assert abs(np.mean(errors)) < 0.01


def test_a_signature_is_the_same_in_every_process():
    """What a changelog holds is compared with what a later process computes: the bytes are pinned."""
    assert signature("Failed password for root from 5.36.59.76")[:8].hex() == "430c44b08fe3b203"


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9, 0.95, 1.0])
def test_bands_find_what_is_at_the_threshold(threshold):
    """A text exactly as alike as asked is a candidate in 99 of 100 cases."""
    rows, jaccard = rows_of_a_band(threshold), threshold / (2 - threshold)
    assert 1 - (1 - jaccard**rows) ** (128 // rows) >= 0.99


def filled(texts: list[str], capacity: int = 16) -> NearDuplicates:
    """Return an operator that was fed texts as the pipeline feeds it, a second apart."""
    near = NearDuplicates(THRESHOLD, 100.0, capacity)
    for number, text in enumerate(texts):
        near.advance(NOW + number)
        if near.find("s", text) is None:
            near.add("s", str(number), text)
    return near


LINE = "connection closed by the remote host while reading "


def test_sources_are_kept_apart():
    """The same text from another source is no near-duplicate."""
    near = filled([LINE])
    assert near.find("s", LINE) == "0"
    assert near.find("other", LINE) is None


def test_short_texts_are_not_judged():
    """Below 20 characters nothing is found, and nothing is remembered."""
    near = filled(["x" * (SHORTEST - 1)] * 2)
    assert len(near) == 0
    assert near.delta()[1] == b""


def test_an_id_too_long_for_the_changelog_is_not_remembered():
    """What could not be restored is not remembered in the first place."""
    near = filled([])
    near.add("s", "i" * 111, LINE)
    near.add("s", "j" * 110, LINE + "again and again and again")
    assert len(near) == 1


def test_a_copy_of_a_copy_is_measured_by_the_first():
    """What is nearly a remembered text is not remembered itself, so likeness does not drift along."""
    near = filled([LINE + "header block", LINE + "header blocks", LINE + "header blocked"])
    assert len(near) == 1
    assert near.find("s", LINE + "header block") == "0"


def test_texts_are_forgotten_by_time_and_by_count():
    """After the window from first sight, and when newer ones need the room, a text is new again."""
    near = filled([LINE])
    near.advance(NOW + 100.0)
    assert near.find("s", LINE) == "0"
    near.advance(NOW + 100.1)
    assert near.find("s", LINE) is None
    rng = random.Random(1)
    texts = ["".join(rng.choices("abcdefghij ", k=60)) for _ in range(17)]
    near = filled(texts)
    assert near.find("s", texts[0]) is None
    assert [near.find("s", text) for text in texts[1:]] == [str(number) for number in range(1, 17)]
    assert len(near) == 16


WORDS = st.lists(
    st.sampled_from(["disk", "full", "user", "login", "failed", "17", "18"]), min_size=3, max_size=8
)


@given(st.lists(WORDS.map(" ".join), max_size=40), st.integers(0, 40))
@settings(deadline=None)
def test_changelog_and_snapshot_rebuild_the_state(texts, cut):
    """Restored from its deltas or from a snapshot, the operator answers as the uninterrupted one."""
    straight = NearDuplicates(THRESHOLD, 30.0, 16)
    changelog: list[tuple[float, int, bytes]] = []
    copies: list[NearDuplicates] = []
    for number, text in enumerate(texts):
        if number == cut:
            for state in (changelog, straight.snapshot()):
                copy = NearDuplicates(THRESHOLD, 30.0, 16)
                copy.advance(NOW + number)
                copy.restore(state)
                copies.append(copy)
        answers = []
        for near in (straight, *copies):
            near.advance(NOW + number)
            answers.append(near.find("s", text))
            if answers[-1] is None:
                near.add("s", str(number), text)
        assert len(set(answers)) == 1
        changelog.append((straight.bucket_s, *straight.delta()))


def test_another_version_of_the_hashing_is_left_out():
    """Signatures that cannot be compared are not restored."""
    near = filled([LINE])
    ((bucket_s, bucket, packed),) = near.snapshot()
    copy = NearDuplicates(THRESHOLD, 100.0, 16)
    assert copy.restore([(bucket_s, bucket, packed)]) == 1
    written = packed[:16] + bytes([packed[16] + 1]) + packed[17:]
    other = NearDuplicates(THRESHOLD, 100.0, 16)
    assert other.restore([(bucket_s, bucket, written)]) == 0
    assert len(other) == 0


def test_the_table_stays_exact_under_many_texts():
    """With ten times its capacity gone through, the remembered are found and memory has not grown."""
    near = NearDuplicates(THRESHOLD, 1e6, 512)
    near.advance(NOW)
    rng = np.random.default_rng(5)
    texts = ["".join(map(chr, rng.integers(97, 123, 60))) for _ in range(5120)]
    for number, text in enumerate(texts):
        near.add("s", str(number), text)
    found = [near.find("s", text) == str(4608 + number) for number, text in enumerate(texts[-512:])]
    assert sum(found) == 512
    assert len(near) == 512


def test_of_texts_as_near_the_newest_is_named():
    """Also of those that came at one moment, as all of a batch do, found by whichever band."""
    rng, ties = random.Random(5), 0
    words = ["alpha", "bravo", "carol", "delta", "eager", "fever", "given", "hotel", "india", "joker"]
    for _ in range(300):
        text = " ".join(rng.choice(words) + str(rng.randrange(10)) for _ in range(30))
        memory = NearDuplicates(THRESHOLD, 3600.0, 100)
        memory.advance(NOW)
        sketch, alike = np.frombuffer(signature(text), np.uint8), []
        for number in range(6):
            at = rng.randrange(len(text))
            edited = text[:at] + rng.choice("xyz") + text[at + 1 :]
            memory.add("shop/1", f"r{number}", edited)
            alike.append(np.count_nonzero(np.frombuffer(signature(edited), np.uint8) == sketch))
        best = [number for number, same in enumerate(alike) if same == max(alike)]
        ties += len(best) > 1
        assert memory.find("shop/1", text) == f"r{best[-1]}"
    assert ties > 30
