"""What of a text can drift, as numbers: consumes `Clean.text`, produces one row of features for the PSI.

Lengths, what kinds of characters there are, and how much of it was never seen before: new kinds of payloads
move these long before anyone has labelled them. Beside them stand the text's terms, which say in words what
moved, and their embedding by feature hashing, for tests of all together.
"""

import re
from collections import Counter
from collections.abc import Iterable
from math import log1p, log2
from typing import Final
from zlib import crc32

import numpy as np
import numpy.typing as npt

_MASK: Final = re.compile(r"<(?:num|ip|email|id|uuid|hex|date|time|url|path|host|mac|user)>")
_TERM: Final = re.compile(rf"{_MASK.pattern}|[^\W_]+|[^\w\s]+")
_TOKEN: Final = re.compile(r"[^\W_]+")
_SYMBOLS: Final = re.compile(r"[^\w\s]+")
_SPECIAL: Final = {
    "quotes": "'\"`",
    "brackets": "<>",
    "slashes": "/\\",
    "dots": ".",
    "shell": ";|&$#",
    "calls": "()={}[]",
    "percent": "%+",
    "dashes": "-*",
}
_MAX_CHARACTERS: Final = 4096
_MAX_TERMS: Final = 50_000
_TERMS_OF_TEXT: Final = 32
_TERM_CHARACTERS: Final = 40
EMBEDDED: Final = 64
"""Dimensions of a text's embedding."""

FEATURES: Final = (
    "length",
    "words",
    "symbols",
    "numbers",
    "upper_case",
    *_SPECIAL,
    "entropy",
    "new_words",
    "new_symbols",
)


class Vocabulary:
    """The words and runs of symbols that the reference contained, as 32-bit hashes; at most 50,000."""

    def __init__(self, known: Iterable[int] = ()) -> None:
        self._known = set(known)

    def learn(self, text: str) -> None:
        """Remember what a text is made of."""
        if len(self._known) < _MAX_TERMS:
            plain = _MASK.sub(" ", text[:_MAX_CHARACTERS].lower())
            self._known.update(map(_hash, _TOKEN.findall(plain)))
            self._known.update(map(_hash, _SYMBOLS.findall(plain)))

    def unknown(self, terms: list[str]) -> float:
        """Return the share of terms that were never learnt; 0 when there are none."""
        if not terms:
            return 0.0
        return sum(_hash(term) not in self._known for term in terms) / len(terms)

    def snapshot(self) -> list[int]:
        """Return the hashes, ready for JSON; `Vocabulary(hashes)` restores them."""
        return sorted(self._known)


def terms(text: str) -> tuple[str, ...]:
    """Return the words, masks and runs of symbols of a text, each once, in order, 32 of them at most.

    >>> terms("GET /shop?q=red OR q=<num>")
    ('get', '/', 'shop', '?', 'q', '=', 'red', 'or', '<num>')
    """
    found = _TERM.findall(text[:_MAX_CHARACTERS].lower())
    return tuple(dict.fromkeys(term[:_TERM_CHARACTERS] for term in found))[:_TERMS_OF_TEXT]


def embedded(found: Iterable[str]) -> npt.NDArray[np.float64]:
    """Return the embedding of a text's terms, `(64,)`, of length 1 or, for no terms, 0.

    Each term adds ±1 to a place of its hash's choice (K. Weinberger et al., "Feature hashing for large scale
    multitask learning", ICML 2009).
    """
    vector = np.zeros(EMBEDDED)
    for term in found:
        hashed = _hash(term)
        vector[hashed % EMBEDDED] += 1.0 if hashed & 0x8000_0000 else -1.0
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector


def features(text: str, vocabulary: Vocabulary) -> list[float]:
    """Return the row of a text, in the order of `FEATURES`; shares are of its characters, masks left out.

    >>> row = dict(zip(FEATURES, features("id=<num>' or 1=1", Vocabulary()), strict=True))
    >>> row["quotes"] > 0, row["new_words"]
    (True, 1.0)
    """
    text = text[:_MAX_CHARACTERS]
    plain, masks = _MASK.subn("", text)
    size = max(1, len(plain))
    lower = plain.lower()
    words, symbols = _TOKEN.findall(lower), _SYMBOLS.findall(lower)
    counts = Counter(plain)
    digits = sum(counts[c] for c in "0123456789")
    total = max(1, len(words) + masks)
    return [
        log1p(len(plain)),
        log1p(len(words)),
        sum(map(len, symbols)) / size,
        (digits / size + masks / total) / 2.0,
        sum(map(str.isupper, plain)) / size,
        *(sum(counts[c] for c in group) / size for group in _SPECIAL.values()),
        _entropy(counts, size),
        vocabulary.unknown(words),
        vocabulary.unknown(symbols),
    ]


def _entropy(counts: "Counter[str]", size: int) -> float:
    """Return the entropy of the characters in bits (C. E. Shannon, 1948)."""
    return -sum(n / size * log2(n / size) for n in counts.values()) + 0.0


def _hash(term: str) -> int:
    return crc32(term.encode("utf-8", "surrogatepass"))
