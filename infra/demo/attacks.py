"""Attack payloads: consumes a grammar per class (`grammars/*.toml`), produces what attackers inject.

The texts are only ever sent to Headrace's own gateway as data about a request; nothing executes them.
Attackers vary case, blanks, comments and encodings, and so do `_disguised` and the grammars' alternatives.
"""

import tomllib
from functools import cache
from pathlib import Path
from random import Random
from typing import Final
from urllib.parse import quote

from infra.demo.grammar import Grammar, Terminal, number, word

CLASSES: Final = ("sqli", "xss", "path-traversal", "cmdi")
"""The attack classes by the name that ground truth gives them."""

_FOLDER: Final = Path(__file__).parent / "grammars"
_TERMINALS: Final[dict[str, Terminal]] = {
    "num": number(1, 9999),
    "octet": number(1, 254),
    "small": number(1, 30),
    "word": word(2, 8),
    "letter": word(1, 1),
}


def payload(random: Random, label: str) -> str:
    """Return one attack of a class, disguised as attackers do."""
    text = grammar(label).sentence(random)
    if label == "xss":
        text = text.replace("{", "<").replace("}", ">")
    return _disguised(random, text, label)


@cache
def grammar(label: str) -> Grammar:
    """Return the grammar of a class."""
    rules = tomllib.loads((_FOLDER / f"{label}.toml").read_text(encoding="utf-8"))
    return Grammar(rules, _TERMINALS)


def _disguised(random: Random, text: str, label: str) -> str:
    """Vary case, blanks and encoding; most attacks are sent plainly."""
    luck = random.random()
    if luck < 0.12:
        return "".join(c.upper() if random.random() < 0.5 else c for c in text)
    if luck < 0.20:
        return text if label == "cmdi" else text.upper()  # a shell tells upper from lower case
    if luck < 0.28 and label == "sqli":
        return text.replace(" ", random.choice(["/**/", "+", "\t", "/*!*/"]))
    if luck < 0.285:
        return quote(text, safe="")
    return text
