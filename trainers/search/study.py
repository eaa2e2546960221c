"""The search: consumes an order, a space and rows, produces trials on disk and the best of them.

Each trial is a training on the training rows, judged by the validation rows as its epochs are; the test rows
are not seen. Optuna draws what is tried and ends what is hopeless (Akiba et al. 2019); its study lies in
`study.db`, so that a killed search goes on where it was.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any, Final

import msgspec
import optuna
from optuna.trial import FrozenTrial, TrialState

from schemas.errors import Fatal
from trainers.fit import Interrupted
from trainers.search.kinds import Pruner, Sampler
from trainers.search.space import Space, Value, applied, default, grid, suggested
from trainers.tasks.examples import Example
from trainers.tasks.training import Order, Watcher, fingerprint, validate
from trainers.tasks.work import Surroundings

STUDY: Final = "study.db"
_NAME: Final = "headrace"
_UNPRUNED: Final = 4
"""Trials that are never ended early: the median needs some to be one."""


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """How to search: at most `trials`, all calls together, and `budget_s` seconds of this one."""

    space: Space
    sampler: Sampler = Sampler.BAYESIAN
    pruner: Pruner = Pruner.MEDIAN
    trials: int = 30
    budget_s: float = float("inf")


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """One trial. `value` is the lowest that its epochs showed on validation rows; `reason` says why none."""

    number: int
    state: str
    values: dict[str, Value]
    value: float | None
    epochs: list[float]
    seconds: float
    is_default: bool = False
    reason: str = ""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What came out: the best trial, all of them, how much each parameter mattered, and why it ended."""

    best: Tried
    trials: list[Tried]
    importance: dict[str, float]
    ended: str


@dataclass
class Listener:
    """Who hears of trials and of their steps, and may stop the search after a step."""

    began: Callable[[int, int, dict[str, Value]], None] = lambda _number, _of, _values: None
    step: Callable[[int, int, float], None] = lambda _done, _total, _loss: None
    ended: Callable[[Tried, float], None] = lambda _tried, _best: None
    stop: Callable[[], bool] = lambda: False


class Search:
    """A search in a folder, new or to be gone on with.

    Raises:
        Fatal: the folder holds another search, or there are no rows to validate with.
    """

    def __init__(
        self, order: Order, wish: Wish, examples: Sequence[Example], tests: Sequence[Example], folder: Path
    ) -> None:
        if not order.recipe.validation:
            raise Fatal("a search compares trials by validation rows; give --validation above 0")
        self._order, self._wish, self._examples, self._tests = order, wish, examples, tests
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = self._opened(folder)
        self._take_up()

    def run(self, around: Surroundings, listener: Listener) -> Found:
        """Try until there were trials enough, time is up, or the listener stops it.

        Raises:
            Interrupted: the listener stopped it; the same search goes on from here.
            Fatal: no trial could be trained.
        """
        deadline = time.monotonic() + self._wish.budget_s
        ended = "all trials are done"
        while self._done() < self._wanted():
            if time.monotonic() >= deadline:
                ended = "the budget is spent"
                break
            if not self._one(around, listener, deadline):
                ended = "the budget is spent"
                break
        return self._found(ended)

    def best_order(self, found: Found) -> Order:
        """Return the order to train by."""
        return applied(self._order, found.best.values)

    def _opened(self, folder: Path) -> optuna.Study:
        folder.mkdir(parents=True, exist_ok=True)
        study = optuna.create_study(
            storage=f"sqlite:///{(folder / STUDY).absolute()}",
            study_name=_NAME,
            direction="minimize",
            load_if_exists=True,
        )
        told = [self._wish.space, self._wish.sampler, self._wish.pruner]
        mark = sha256(
            msgspec.json.encode(told) + fingerprint(self._order, self._examples).encode()
        ).hexdigest()
        known = study.user_attrs.get("fingerprint")
        if known is None:
            study.set_user_attr("fingerprint", mark)
            self._queue(study)
        elif known != mark:
            raise Fatal(
                f"{folder} holds a search of other data, another space or other settings: repeat the command"
                " that made it, or name another folder with --out"
            )
        study.sampler, study.pruner = self._sampler(len(study.trials)), self._pruner()
        return study

    def _queue(self, study: optuna.Study) -> None:
        """Lay down what is to be tried first: the order's own values, and of a grid every combination."""
        own = default(self._order, self._wish.space)
        if own is not None and self._wish.sampler is not Sampler.GRID:
            study.enqueue_trial(own, user_attrs={"default": True})
        if self._wish.sampler is Sampler.GRID:
            points = list(grid(self._wish.space))
            Random(self._order.recipe.seed).shuffle(
                points
            )  # a search that ends early has seen all of the space
            for values in points:
                study.enqueue_trial(values)

    def _sampler(self, so_far: int) -> optuna.samplers.BaseSampler:
        seed = self._order.recipe.seed + so_far  # what goes on does not draw the same again
        if self._wish.sampler is Sampler.BAYESIAN:
            return optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=8)
        return optuna.samplers.RandomSampler(seed=seed)

    def _pruner(self) -> optuna.pruners.BasePruner:
        if self._wish.pruner is Pruner.MEDIAN:
            return optuna.pruners.MedianPruner(n_startup_trials=_UNPRUNED, n_warmup_steps=1)
        if self._wish.pruner is Pruner.HYPERBAND:
            return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=self._order.recipe.epochs)
        return optuna.pruners.NopPruner()

    def _take_up(self) -> None:
        """Lay down again what a killed search was in the middle of."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._again(trial.number, trial.params, trial.user_attrs)

    def _again(self, number: int, values: dict[str, Value], attributes: dict[str, Any]) -> None:
        self._study.tell(number, state=TrialState.FAIL)
        if values:
            marks = {name: attributes[name] for name in ("default",) if name in attributes}
            self._study.enqueue_trial(values, user_attrs=marks)

    def _done(self) -> int:
        return sum(_counts(trial) for trial in self._study.get_trials(deepcopy=False))

    def _wanted(self) -> int:
        if self._wish.sampler is not Sampler.GRID:
            return self._wish.trials
        return min(self._wish.trials, sum(1 for _ in grid(self._wish.space)))

    def _one(self, around: Surroundings, listener: Listener, deadline: float) -> bool:
        """Carry out one trial; tell whether it came to its end before the deadline."""
        trial = self._study.ask()
        values = suggested(trial, self._wish.space)
        listener.began(self._done() + 1, self._wanted(), values)

        def epoch(number: int, value: float) -> None:
            trial.report(value, number)
            if trial.should_prune():
                raise optuna.TrialPruned

        def stop() -> bool:
            return listener.stop() or time.monotonic() >= deadline

        watcher = Watcher(
            lambda _name, done, total, loss: listener.step(done, total, loss), stop, epoch=epoch
        )
        began = time.monotonic()
        try:
            order = applied(self._order, values)
            curve = validate(order, self._examples, self._tests, around, watcher)
        except optuna.TrialPruned:
            self._study.tell(trial, state=TrialState.PRUNED)
        except Interrupted:
            self._again(trial.number, values, trial.user_attrs)
            if listener.stop():
                raise
            return False
        except Fatal as error:
            trial.set_user_attr("reason", str(error))
            self._study.tell(trial, state=TrialState.FAIL)
        except BaseException:
            self._again(trial.number, values, trial.user_attrs)
            raise
        else:
            self._study.tell(trial, min(curve.validation))
        told = self._study.get_trials(deepcopy=False)[trial.number]
        listener.ended(_tried(told, time.monotonic() - began), self._best_value())
        return True

    def _best_value(self) -> float:
        complete = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return min((trial.value for trial in complete if trial.value is not None), default=float("nan"))

    def _found(self, ended: str) -> Found:
        every = self._study.get_trials(deepcopy=False)
        trials = [_tried(trial) for trial in every if _counts(trial)]
        complete = [tried for tried in trials if tried.value is not None]
        if not complete:
            reasons = {tried.reason for tried in trials if tried.reason}
            raise Fatal(
                f"no trial came to its end: {'; '.join(sorted(reasons)) or 'the budget was too small'}"
            )
        best = min(complete, key=lambda tried: tried.value or 0.0)
        return Found(best=best, trials=trials, importance=self._importance(len(complete)), ended=ended)

    def _importance(self, complete: int) -> dict[str, float]:
        """Return each parameter's share of what made trials differ; empty while there are too few."""
        if complete < _UNPRUNED:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self._order.recipe.seed)
        try:
            found = optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        except RuntimeError:  # all trials came to the same value: nothing mattered
            return {}
        return {name: round(float(share), 4) for name, share in found.items()}


def _counts(trial: FrozenTrial) -> bool:
    """Tell whether a trial was carried out: one that was cut off is tried again under another number."""
    return trial.state in {TrialState.COMPLETE, TrialState.PRUNED} or "reason" in trial.user_attrs


def _tried(trial: FrozenTrial, seconds: float | None = None) -> Tried:
    took = seconds
    if took is None:
        took = trial.duration.total_seconds() if trial.duration else 0.0
    return Tried(
        number=trial.number,
        state=trial.state.name.lower(),
        values=dict(trial.params),
        value=trial.value if trial.state is TrialState.COMPLETE else None,  # else where it was ended
        epochs=[value for _, value in sorted(trial.intermediate_values.items())],
        seconds=round(took, 3),
        is_default=bool(trial.user_attrs.get("default")),
        reason=str(trial.user_attrs.get("reason", "")),
    )
