"""The Hoeffding tree and the adaptive random forest of such trees: river's.

P. Domingos, G. Hulten, "Mining high-speed data streams", KDD 2000; H. M. Gomes et al., "Adaptive random
forests for evolving data stream classification", Machine Learning 106, 2017.
"""

from collections.abc import Callable
from typing import Any

from infra.backtest.learners.protocol import Seen, Shares
from infra.backtest.row import Value


class Tree:
    """One of river's trees or forests; `bare` keeps to the row's own readings. Memory: river's own bounds."""

    def __init__(self, make: Callable[[], Any], *, bare: bool = False) -> None:
        self._model = make()
        self._bare = bare

    def shares(self, seen: Seen) -> Shares:
        found: dict[str, float] = self._model.predict_proba_one(self._read(seen))
        total = sum(found.values())
        return {label: share / total for label, share in found.items()} if total > 0 else {}

    def learn(self, seen: Seen, label: str) -> None:
        self._model.learn_one(self._read(seen), label)

    def _read(self, seen: Seen) -> dict[str, Value]:
        return dict(seen.values) if self._bare else seen.all


def hoeffding_tree(*, bare: bool = True) -> Tree:
    """Return a fresh tree."""
    from river import tree

    return Tree(tree.HoeffdingTreeClassifier, bare=bare)


def forest(seed: int, models: int = 10) -> Tree:
    """Return a fresh forest, which replaces trees of its own where their errors rise."""
    from river import forest as forests

    return Tree(lambda: forests.ARFClassifier(n_models=models, seed=seed))
