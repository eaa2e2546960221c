"""What each task learns from: one record a row of data, checked by whoever reads it."""

from typing import NamedTuple


class Text(NamedTuple):
    """A text and its class; empty where the task needs none."""

    text: str
    label: str = ""


class Tagged(NamedTuple):
    """A sentence's words and the tag of each, as many."""

    words: tuple[str, ...]
    tags: tuple[str, ...]


class Question(NamedTuple):
    """A question, the context that answers it, the answer's wording, and at which character it begins."""

    question: str
    context: str
    answer: str
    start: int


class Readings(NamedTuple):
    """Numbers of one moment, NaN where one is missing, and their class or number to learn."""

    values: tuple[float, ...]
    label: str = ""
    target: float = 0.0


Example = Text | Tagged | Question | Readings
