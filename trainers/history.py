"""How a training went, step by step: consumes losses and gradients as they come, produces a bounded History.

It is kept in the training process and travels with the run and the release; the registry shows it as curves.
"""

import math
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from torch.optim import Optimizer

OUT_OF_TIME: Final = "out of time"

_STEPS: Final = 1000
"""Steps that a phase keeps: when there are twice as many, every second one is forgotten."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One optimiser step: loss and gradient norm before it, the learning rate it took.

    None is a number that was none: a training that diverged.
    """

    phase: str
    step: int
    loss: float | None
    gradient_norm: float | None
    learning_rate: float
    at_s: float


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """One pass over the training rows: mean loss, and the loss on validation rows where there are any."""

    phase: str
    epoch: int
    loss: float | None
    validation_loss: float | None
    at_s: float


class History(msgspec.Struct, frozen=True, kw_only=True):
    """The steps and epochs of one training, in order, in seconds since each phase began.

    `stopped` says what ended each phase before its last epoch.
    """

    steps: tuple[Step, ...] = ()
    epochs: tuple[Epoch, ...] = ()
    stopped: dict[str, str] = {}

    def __add__(self, other: "History") -> "History":
        return History(
            steps=(*self.steps, *other.steps),
            epochs=(*self.epochs, *other.epochs),
            stopped=self.stopped | other.stopped,
        )


class Recorder:
    """Collects one phase of a training, where torch is at work.

    Memory is bounded: at most `2 * _STEPS` steps, evenly spread.
    """

    def __init__(self, phase: str) -> None:
        self.stopped = ""
        self._phase = phase
        self._began = time.monotonic()
        self._steps: list[Step] = []
        self._epochs: list[Epoch] = []
        self._count = 0
        self._every = 1

    def step(self, loss: float, optimiser: "Optimizer") -> None:
        """Note a step; call after `backward` and before the optimiser's own step."""
        import torch

        number, self._count = self._count, self._count + 1
        if number % self._every:
            return
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        self._steps.append(
            Step(
                phase=self._phase,
                step=number,
                loss=_finite(loss),
                gradient_norm=_finite(float(torch.nn.utils.get_total_norm(gradients))),
                learning_rate=float(optimiser.param_groups[0]["lr"]),
                at_s=self._at_s(),
            )
        )
        if len(self._steps) >= 2 * _STEPS:
            self._every *= 2
            self._steps = [step for step in self._steps if step.step % self._every == 0]

    def epoch(self, loss: float, validation_loss: float | None = None) -> None:
        """Note the end of an epoch."""
        self._epochs.append(
            Epoch(
                phase=self._phase,
                epoch=len(self._epochs),
                loss=_finite(loss),
                validation_loss=None if validation_loss is None else _finite(validation_loss),
                at_s=self._at_s(),
            )
        )

    def history(self) -> History:
        """Return what was noted."""
        stopped: dict[str, Any] = {self._phase: self.stopped} if self.stopped else {}
        return History(steps=tuple(self._steps), epochs=tuple(self._epochs), stopped=stopped)

    def _at_s(self) -> float:
        return round(time.monotonic() - self._began, 4)


def _finite(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None
