"""The words of a text: consumes a text and its tokens, says which word each token is a piece of.

A word is a run of letters and digits, a placeholder that masking left (`<num>`), or a run of other signs: of
`alert(<num>)` these are `alert`, `(`, `<num>` and `)`. Pieces of words say nothing to a reader.
"""

import bisect
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from tokenizers import Encoding, Tokenizer

from schemas.errors import Fatal

SPECIAL: Final = -1
"""The word of a token that the tokenizer adds."""

_WORD: Final = re.compile(r"<\w+>|\w+|(?:(?!<\w+>)[^\w\s])+")
_BLANKS: Final = ("[MASK]", "<mask>", "[PAD]", "<pad>", "<|endoftext|>")


class Word(NamedTuple):
    """One word and where it lies."""

    name: str
    begin: int
    end: int


def words(text: str) -> list[Word]:
    """Return the words of a text in its order.

    >>> [word.name for word in words("q=<num>' or 1")]
    ['q', '=', '<num>', "'", 'or', '1']
    """
    return [Word(found[0], *found.span()) for found in _WORD.finditer(text)]


def owners(encoding: Encoding, text: str, found: Sequence[Word]) -> list[int]:
    """Return the number of each token's word, (T,), SPECIAL for those that the tokenizer added.

    A token over several words, as byte pairs may make it, counts to the one that it begins in.
    """
    begins = [word.begin for word in found]
    numbers = []
    for special, (begin, end) in zip(encoding.special_tokens_mask, encoding.offsets, strict=True):
        if special or not found:
            numbers.append(SPECIAL)
            continue
        piece = text[begin:end]
        at = begin + len(piece) - len(piece.lstrip())
        numbers.append(max(0, bisect.bisect_right(begins, at) - 1))
    return numbers


def blank(tokenizer: Tokenizer) -> int:
    """Return the token that stands where a word is taken away: the tokenizer's mask, or else its padding.

    Raises:
        Fatal: it has neither.
    """
    for name in _BLANKS:
        if (number := tokenizer.token_to_id(name)) is not None:
            return int(number)
    raise Fatal(f"the tokenizer has none of {', '.join(_BLANKS)} to put in a word's place")
