"""Which learner a backtest uses: consumes the plan's name and the history, produces fresh learners of it."""

from collections.abc import Callable
from typing import Final

from infra.backtest.learners.protocol import Learner
from infra.backtest.plan import DetectorName, ModelName
from infra.backtest.row import History
from schemas.errors import Fatal

Make = Callable[[], Learner]

_WIDE: Final = 32


def chosen(model: ModelName, history: History, detector: DetectorName | None = None) -> ModelName:
    """Return what `auto` stands for: `text` where there is text, `none` where there are error bits alone.

    Raises:
        Fatal: the history has not what the model asked for reads.
    """
    if model is ModelName.TEXT and not history.text:
        raise Fatal("--model text: no column looks like text; name it with --text COLUMN")
    if model in (ModelName.MLP, ModelName.TREE) and not history.features:
        raise Fatal(f"--model {model.value}: no column is left to learn from")
    if model is ModelName.NONE and history.rows[0].wrong is None and detector is not DetectorName.MMD:
        raise Fatal(
            "--model none judges nothing; say with --errors COLUMN where the error bits are, or watch the"
            " numbers themselves with --detector mmd"
        )
    if model is not ModelName.AUTO:
        return model
    if history.rows[0].wrong is not None:
        return ModelName.NONE
    if history.text:
        return ModelName.TEXT
    if not history.features:
        raise Fatal("no column is left to learn from beside the label")
    return ModelName.AUTO


def maker(model: ModelName, features: int, seed: int) -> Make:
    """Return what makes a fresh learner of so many features; the seed makes it the same every time."""
    if model is ModelName.TREE:
        from infra.backtest.learners.tree import hoeffding_tree

        return hoeffding_tree
    if model is ModelName.MLP:
        from infra.backtest.learners.network import Network

        return lambda: Network(seed)
    if model is ModelName.TEXT:
        from infra.backtest.learners.words import Words

        return Words
    return lambda: _pool(wide=features > _WIDE)


def _pool(*, wide: bool) -> Learner:
    """Return the default for tables: learners that err in different ways, weighted by what they are worth.

    A tree over a wide table has seen too few labels for its first splits when the concept is over already.
    """
    from infra.backtest.learners.linear import Linear
    from infra.backtest.learners.neighbours import Neighbours
    from infra.backtest.learners.persistence import Persistence
    from infra.backtest.learners.pool import Pool
    from infra.backtest.learners.tree import hoeffding_tree

    members: list[Learner] = [Linear(), Neighbours(), Persistence()]
    return Pool(members if wide else [*members, hoeffding_tree(bare=False)])
