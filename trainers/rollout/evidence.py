"""Evidence that a share is larger than it should be, which may be looked at as often as one likes.

A fixed-size test that is repeated after every label finds something in the end. A bet that is fair under the
null hypothesis does not: its wealth is a martingale, and the chance that it is ever multiplied by 1/α is at
most α (J. Ville, "Étude critique de la notion de collectif", 1939). Betting on several alternatives at once,
as H. Robbins did ("Statistical methods related to the law of the iterated logarithm", 1970), it needs no
guess of how large the share is. A. Ramdas et al., "Game-theoretic statistics and safe anytime-valid
inference", Statistical Science 38, 2023.
"""

from functools import lru_cache
from math import exp, log, log1p
from typing import Final

_ALTERNATIVES: Final = 24


def log_evidence(hits: int, of: int, chance: float) -> float:
    """Return the logarithm of the evidence that hits are likelier than `chance`.

    Under the null hypothesis (each hit has probability `chance` or less, whatever came before) it exceeds
    log(1/α) at any time with probability α at most.

    >>> round(exp(log_evidence(16, 16, 0.5)))
    4042
    >>> log_evidence(30, 60, 0.5) < 0.0
    True

    Raises:
        ValueError: there are more hits than trials, or `chance` is not between 0 and 1.
    """
    if not 0 <= hits <= of:
        raise ValueError(f"{hits} hits of {of} cannot be")
    if not 0.0 < chance < 1.0:
        raise ValueError(f"a chance between 0 and 1 is tested, not {chance:g}")
    bets = [hits * won + (of - hits) * lost for won, lost in _odds(chance)]
    best = max(bets)
    return best + log(sum(exp(bet - best) for bet in bets) / len(bets))


@lru_cache(maxsize=64)
def _odds(chance: float) -> tuple[tuple[float, float], ...]:
    """Return what each alternative multiplies the wealth by, in logarithms: at a hit, and at a miss."""
    found = []
    for number in range(_ALTERNATIVES):
        # Denser near the chance itself, where a difference takes long to show and the right bet matters.
        share = chance + (1.0 - chance) * ((number + 0.5) / _ALTERNATIVES) ** 2
        found.append((log(share / chance), log1p(-share) - log1p(-chance)))
    return tuple(found)
