"""Texts that a language model goes on with: consumes the first pieces, produces the next, the likeliest each.

What is written is compared with what was there: BLEU (Papineni et al. 2002) by clipped n-grams of up to four
words, ROUGE-1 and ROUGE-L (Lin 2004) by shared words and their longest common subsequence, F1 each.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

NextLogits = Callable[[list[int]], NDArray[np.float32]]
"""Of the pieces so far, the logits (V,) of the one that follows."""

LONGEST: Final = 32
"""Pieces that are written to compare with a text's own."""


def greedy(following: NextLogits, pieces: Sequence[int], count: int, end: int | None) -> list[int]:
    """Return up to `count` pieces that follow `pieces`, the likeliest each; `end` is the one to end at."""
    written: list[int] = []
    for _ in range(count):
        piece = int(following([*pieces, *written]).argmax())
        if piece == end:
            break
        written.append(piece)
    return written


def halves(pieces: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the first half of a text's pieces, and as much of the second as is compared."""
    middle = max(1, len(pieces) // 2)
    return list(pieces[:middle]), list(pieces[middle : middle + LONGEST])


def alike(references: Sequence[str], written: Sequence[str]) -> dict[str, float]:
    """Return BLEU and ROUGE of what was written against what was there, 0 to 1; empty for no texts."""
    from torchmetrics.functional.text import bleu_score, rouge_score

    if not references:
        return {}
    shared = rouge_score(list(written), list(references), rouge_keys=("rouge1", "rougeL"))
    return {
        "bleu": float(bleu_score(list(written), [[text] for text in references])),
        "rouge1": float(shared["rouge1_fmeasure"]),
        "rougeL": float(shared["rougeL_fmeasure"]),
    }
