"""A trained folder on a file's rows: consumes what a training left and examples, produces an answer each.

Only the graph, the tokenizer and the report are opened: what runs here is what would run anywhere. Rows go
through the graph one by one, so that no answer depends on another's length.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import msgspec
import numpy as np
from tokenizers import Tokenizer

from schemas.errors import Fatal
from trainers.dataset import Array
from trainers.encoder import padded, session
from trainers.model import ANOMALY, NORMAL, answers, probabilities
from trainers.tasks.answers import best_span, windows
from trainers.tasks.examples import Example, Question, Readings, Tagged, Text
from trainers.tasks.generation import greedy
from trainers.tasks.kinds import SENSORS, Kind
from trainers.tasks.sensors import pasts
from trainers.tasks.tokens import aligned
from trainers.tasks.training import REPORT, Report

Answer = dict[str, Any]

_NAMES: Final = (NORMAL, ANOMALY)
_TOLD: Final = 3
"""Pieces that are told for a masked one."""


class Applied:
    """A folder that `headrace train` wrote, opened. `report` says what it was trained for."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        try:
            self.report = msgspec.json.decode((folder / REPORT).read_bytes(), type=Report)
        except FileNotFoundError:
            raise Fatal(f"{folder} holds no finished training; `headrace train … --out` writes one") from None
        except msgspec.MsgspecError as error:
            raise Fatal(f"{folder / REPORT} is no report of a training: {error}") from error
        graphs = [folder / name for name in ("model.fp32.onnx", "model.onnx") if (folder / name).is_file()]
        if not graphs:
            raise Fatal(f"{folder} holds no graph; train it again")
        self._graph = session(graphs[0], threads)
        self._names = {given.name for given in self._graph.get_inputs()}
        self._known = self.report.model
        if self.report.task not in SENSORS:
            self.tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self.tokenizer.no_padding()

    @property
    def features(self) -> tuple[str, ...]:
        """Return the columns of readings that it takes, in order; none for texts."""
        return tuple(self._known.get("readings") or self._known.get("features") or ())

    def answers(self, examples: Sequence[Example], tokens: int = 32) -> Iterator[Answer]:
        """Yield one answer a row, numbered from 1; a forecast begins once its window is full.

        A row that cannot be answered has an `error` that says why. `tokens` bound what is written.

        Raises:
            Fatal: there are too few rows for a forecast.
        """
        kind = self.report.task
        if kind in SENSORS:
            yield from self._readings(cast("Sequence[Readings]", examples))
            return
        ways: dict[Kind, Callable[[Any], Answer]] = {
            Kind.CLASSIFICATION: self._class,
            Kind.TOKENS: self._tags,
            Kind.QA: self._span,
            Kind.MLM: self._filled,
            Kind.CLM: partial(self._continued, tokens=tokens),
            Kind.CLUSTERING: self._group,
        }
        for number, example in enumerate(examples, start=1):
            try:
                found = ways[kind](example)
            except Fatal as error:
                found = {"error": str(error)}
            yield {"row": number, **found}

    def _run(self, ids: Sequence[int], types: Sequence[int] = ()) -> list[Array]:
        given = dict(padded([ids]))
        if "token_type_ids" in self._names:
            given["token_type_ids"] = np.array([types or [0] * len(ids)], dtype=np.int64)
        found: list[Array] = self._graph.run(None, given)
        return found

    def _ids(self, text: str) -> list[int]:
        self.tokenizer.enable_truncation(self._known["max_tokens"])
        ids: list[int] = self.tokenizer.encode(text).ids
        return ids

    def _class(self, example: Text) -> Answer:
        shares = probabilities(self._run(self._ids(example.text))[0])[0]
        return _best(shares, self._known["labels"])

    def _tags(self, example: Tagged) -> Answer:
        """Tag the words that are within the length that the model reads; those behind it have none."""
        labels = self._known["labels"]
        blank = example._replace(tags=(labels[0],) * len(example.words))
        ids, targets = aligned(self.tokenizer, blank, labels, self._known["max_tokens"])
        found = self._run(ids)[0][0].argmax(-1)  # (T,)
        tags = [labels[tag] for tag, target in zip(found, targets, strict=True) if target >= 0]
        return {"words": example.words[: len(tags)], "tags": tags}

    def _span(self, example: Question) -> Answer:
        best: tuple[float, int, int] = (-np.inf, 0, 0)
        for window in windows(self.tokenizer, example, self._known["max_tokens"]):
            starts, ends = self._run(window.ids, window.types)
            best = max(best, best_span(window, starts[0], ends[0]))
        score, begin, end = best
        return {"answer": example.context[begin:end], "start": begin, "score": round(score, 4)}

    def _filled(self, example: Text) -> Answer:
        """Guess the masked pieces of a text, written as the tokenizer writes its mask."""
        ids = self._ids(example.text)
        places = [place for place, piece in enumerate(ids) if piece == self._known["mask"]]
        if not places:
            raise Fatal(f"{example.text[:40]!r} has no masked piece; write [MASK] (or <mask>) where one is")
        shares = probabilities(self._run(ids)[0][0])  # (T, V)
        guesses = []
        for place in places:
            order = np.argsort(-shares[place])[:_TOLD]
            guesses.append([
                {"piece": self.tokenizer.decode([int(n)]).strip(), "score": _rounded(shares[place, n])}
                for n in order
            ])  # fmt: skip
            ids[place] = int(order[0])
        return {"text": self.tokenizer.decode(ids), "masked": guesses}

    def _continued(self, example: Text, tokens: int) -> Answer:
        limit = self._known["max_tokens"]
        ids = self._ids(example.text)
        room = max(0, limit - len(ids))
        more = greedy(
            lambda pieces: self._run(pieces)[0][0, -1], ids, min(tokens, room), self._known["end"]
        )  # fmt: skip
        return {"text": example.text, "written": self.tokenizer.decode(more)}

    def _group(self, example: Text) -> Answer:
        distances, nearest = self._run(self._ids(example.text))
        return {"cluster": int(nearest[0]), "distance": _rounded(distances[0, int(nearest[0])])}

    def _readings(self, examples: Sequence[Readings]) -> Iterator[Answer]:
        values = np.array([example.values for example in examples], dtype=np.float32)
        kind, before = self.report.task, 0
        if kind is Kind.FORECAST:
            if len(values) < self._known["window"]:
                raise Fatal(f"a forecast looks back on {self._known['window']} rows; there are {len(values)}")
            values, before = pasts(values, self._known["window"]), self._known["window"] - 1
        found: Array = self._graph.run(None, {"values": values})[0]
        if kind is Kind.ANOMALY:
            for row, (label, score) in enumerate(zip(answers(found, _NAMES), found, strict=True), start=1):
                yield {"row": row, "label": str(label), "score": _rounded(score)}
            return
        ahead = {"ahead": self._known["horizon"]} if kind is Kind.FORECAST else {}
        for row, out in enumerate(found, start=before + 1):
            if kind is Kind.SENSOR_CLASSIFICATION:
                yield {"row": row, **_best(probabilities(out[None])[0], self._known["labels"])}
            else:
                yield {"row": row, **ahead, "number": _rounded(out)}


def _best(shares: Array, labels: Sequence[str]) -> Answer:
    best = int(shares.argmax())
    return {"label": labels[best], "score": _rounded(shares[best])}


def _rounded(value: Any) -> float:
    return round(float(value), 6)
