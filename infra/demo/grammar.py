"""A grammar that writes texts: consumes rules and a random generator, produces a sentence."""

import re
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Final

_SLOT: Final = re.compile(r"<([a-z_]+)>")
_MAX_DEPTH: Final = 24

Rules = Mapping[str, Sequence[str]]
Terminal = Callable[[Random], str]


class Grammar:
    """A context-free grammar: `<name>` in a rule stands for any of that name's alternatives.

    `terminals` are names that are written by a function instead (a number, a word). Alternatives are equally
    likely; writing one twice doubles its chance.

    >>> Grammar({"start": ["<who> runs"], "who": ["she"]}).sentence(Random(1))
    'she runs'

    Raises:
        ValueError: a rule uses a name that nothing defines.
    """

    def __init__(self, rules: Rules, terminals: Mapping[str, Terminal] | None = None) -> None:
        self._rules = rules
        self._terminals = terminals or {}
        used = {
            name for alternatives in rules.values() for text in alternatives for name in _SLOT.findall(text)
        }
        undefined = sorted(used - rules.keys() - self._terminals.keys())
        if undefined:
            raise ValueError(f"the grammar uses names it does not define: {', '.join(undefined)}")

    def sentence(self, random: Random, start: str = "start") -> str:
        """Write one sentence from `start`.

        Raises:
            RecursionError: the rules nest without end.
        """
        return self._expand(random, start, 0)

    def _expand(self, random: Random, name: str, depth: int) -> str:
        if depth > _MAX_DEPTH:
            raise RecursionError(f"the rules of {name!r} nest deeper than {_MAX_DEPTH}")
        terminal = self._terminals.get(name)
        if terminal is not None:
            return terminal(random)
        chosen = random.choice(self._rules[name])
        return _SLOT.sub(lambda slot: self._expand(random, slot[1], depth + 1), chosen)


def number(low: int, high: int) -> Terminal:
    """Return a terminal that writes a whole number from `low` to `high`."""
    return lambda random: str(random.randint(low, high))


def word(length_from: int, length_to: int, letters: str = "abcdefghijklmnopqrstuvwxyz") -> Terminal:
    """Return a terminal that writes letters drawn at random."""
    return lambda random: "".join(random.choices(letters, k=random.randint(length_from, length_to)))
