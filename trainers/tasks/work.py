"""What every task offers to the run that trains it, and the tasks whose head is of `transformers`' own."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import torch

from schemas.errors import Fatal
from trainers.fit import Learner
from trainers.recipe import Recipe
from trainers.tasks import graphs
from trainers.tasks.answers import AnswerLearner
from trainers.tasks.headed import without_targets
from trainers.tasks.language import CausalLearner, MaskedLearner
from trainers.tasks.pretrained import Outputs
from trainers.tasks.tokens import TokenLearner


class Rows(NamedTuple):
    """The numbers of the rows to train on, to validate with and to test with."""

    training: list[int]
    validation: list[int]
    test: list[int]


class Surroundings(NamedTuple):
    """Where vectors and graphs of encoders are kept, how many threads compute, who hears of slow steps.

    `stop` is asked between slow steps, as `trainers.fit.Run` asks it.
    """

    home: Path
    threads: int = 1
    tell: Callable[[str, int, int], None] = lambda _step, _done, _total: None
    stop: Callable[[], bool] = lambda: False


class Phase(NamedTuple):
    """One call of the training loop; only the last phase keeps a checkpoint, those before it take seconds."""

    learner: Learner
    recipe: Recipe
    training: Sequence[int]
    validation: Sequence[int]
    last: bool = True


class Task(Protocol):
    """A training from its rows to its files."""

    def phases(self) -> Iterator[Phase]:
        """Yield what the loop is to fit, one after the other; each is fitted before the next is asked for."""
        ...

    def finish(self, scratch: Path) -> None:
        """Make the fitted network one of plain weights, on the CPU; `scratch` holds what that takes."""
        ...

    def metrics(self, rows: Sequence[int]) -> dict[str, float]:
        """Return what the network is worth on rows."""
        ...

    def before(self, rows: Sequence[int]) -> dict[str, float]:
        """Return what the network is worth before it learns; empty where that says nothing."""
        ...

    def export(self, folder: Path) -> dict[str, float]:
        """Write what runs the model; returns the parity of its graph, and what else was found."""
        ...

    def describe(self) -> dict[str, object]:
        """Return the order of labels and the like, which a caller of the graph needs."""
        ...


HeadedLearner = TokenLearner | AnswerLearner | MaskedLearner | CausalLearner


class HeadedTask:
    """Tags, answers and language models: one phase, and a graph of the whole network."""

    def __init__(self, learner: HeadedLearner, rows: Rows, recipe: Recipe) -> None:
        self.learner = learner
        self._recipe = recipe
        self._training, self._validation = self._units(rows.training), self._units(rows.validation)
        if not self._training:
            raise Fatal("the rows to train on have no text to learn from")
        self._sample = self._training[:2]
        self._cut: dict[tuple[int, ...], list[int]] = {}

    def phases(self) -> Iterator[Phase]:
        yield Phase(self.learner, self._recipe, self._training, self._validation)

    def finish(self, scratch: Path) -> None:
        self.learner.tuned.merge()
        self.learner.model.cpu().eval()

    def before(self, rows: Sequence[int]) -> dict[str, float]:
        return self.metrics(rows) if isinstance(self.learner, MaskedLearner | CausalLearner) else {}

    def metrics(self, rows: Sequence[int]) -> dict[str, float]:
        if isinstance(self.learner, CausalLearner):
            key = tuple(rows)
            if key not in self._cut:
                self._cut[key] = self._units(rows)
            return self.learner.metrics(self._cut[key]) | self.learner.written(rows)
        return self.learner.metrics(rows)

    def export(self, folder: Path) -> dict[str, float]:
        found_by_ends = isinstance(self.learner, AnswerLearner)
        names = ("start_logits", "end_logits") if found_by_ends else ("logits",)
        outputs = Outputs(self.learner.model, names).eval()
        sample = without_targets(self.learner.collate(self._sample))
        path = folder / "model.onnx"
        axes = {0: "rows", 1: "tokens"}
        graphs.write(outputs, sample, dict.fromkeys(names, axes), path)
        shapes = [{name: value[:1, :7] for name, value in sample.items()}, sample]
        worst = graphs.parity(outputs, [*shapes, {n: torch.cat([v, v]) for n, v in sample.items()}], path)
        self.learner.model.save_pretrained(folder / "network")
        self.learner.words.save(folder)
        self.learner.words.save(folder / "network")
        return {"parity": worst}

    def describe(self) -> dict[str, object]:
        learner = self.learner
        known: dict[str, object] = {"max_tokens": learner.max_tokens}
        if isinstance(learner, TokenLearner):
            known["labels"] = learner.labels
        elif isinstance(learner, MaskedLearner):
            known["mask"] = learner.words.mask
        elif isinstance(learner, CausalLearner):
            known["end"] = learner.config.eos_token_id
        return known

    def _units(self, rows: Sequence[int]) -> list[int]:
        cut = self.learner
        return cut.units(rows) if isinstance(cut, AnswerLearner | CausalLearner) else list(rows)
