"""The one training loop of all tasks: consumes a Learner and the rows to learn from, produces tuned weights.

It reads from top to bottom: shuffle, gather gradients, clip, step, validate, keep the best. Everything that
is drawn at random hangs on the seed and the epoch, or on generators that are in the checkpoint.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from schemas.errors import HeadraceError
from trainers.checkpoints import Checkpoint, Standing, tuned_weights
from trainers.devices import Device, choose
from trainers.history import OUT_OF_TIME, Recorder
from trainers.recipe import Recipe

Batch = Mapping[str, Tensor]

_POOL: Final = 50
"""Batches among which rows of like length are put together: less padding, and still a shuffled order."""


class Interrupted(HeadraceError):
    """The training was asked to stop; where it stands is in its checkpoint."""


class Learner(Protocol):
    """A network and what it learns, row by number."""

    network: nn.Module

    def length(self, row: int) -> int:
        """Return a row's length, by which rows are batched together."""
        ...

    def collate(self, rows: Sequence[int]) -> Batch:
        """Return rows as padded tensors, (B, …) each."""
        ...

    def weight(self, batch: Batch) -> float:
        """Return how many targets (or how much weight of them) a batch has; losses are averaged over it."""
        ...

    def loss(self, batch: Batch) -> Tensor:
        """Return the summed loss of a batch, a scalar."""
        ...

    def groups(self, recipe: Recipe) -> list[tuple[list[nn.Parameter], float]]:
        """Return the weights that learn, each group with its rate."""
        ...


class Told(NamedTuple):
    """What a listener hears after a step."""

    epoch: int
    done: int
    total: int
    loss: float


@dataclass
class Run:
    """What surrounds a training: its checkpoint, who listens, and when it must stop.

    `stop` is asked after each step; True saves where the training stands and ends it as `Interrupted`.
    `deadline`, a `time.monotonic()` moment, ends it as if the epochs were over. `recorder` notes the steps of
    this process: those before a crash went with it. `epoch` hears by which value an epoch is compared.
    """

    checkpoint: Checkpoint | None = None
    every_s: float = 30.0
    listener: Callable[[Told], None] = lambda _told: None
    stop: Callable[[], bool] = lambda: False
    deadline: float = float("inf")
    recorder: Recorder | None = None
    epoch: Callable[[int, float], None] = lambda _epoch, _value: None
    device: Device = field(default_factory=choose)


class Curve(NamedTuple):
    """Mean losses of each epoch, whose weights were kept (-1: none's), and seconds, over all its runs."""

    train: list[float]
    validation: list[float]
    kept: int
    seconds: float


def fit(
    learner: Learner, training: Sequence[int], validation: Sequence[int], recipe: Recipe, run: Run
) -> Curve:
    """Tune the learner's network in place and leave it with the best epoch's weights, in evaluation mode.

    Where no epoch lowered the loss on the validation rows, the weights are those that it came with.

    Raises:
        Interrupted: `run.stop` said so.
        Fatal: the checkpoint is of another training.
    """
    network, device = learner.network.to(run.device.name), run.device
    torch.manual_seed(recipe.seed)
    optimiser = torch.optim.AdamW(
        [{"params": group, "lr": rate, "initial_lr": rate} for group, rate in learner.groups(recipe)],
        weight_decay=recipe.weight_decay,
    )
    scaler = device.scaler()
    found = run.checkpoint.restore(network, optimiser, scaler) if run.checkpoint is not None else None
    standing, best = found or (Standing(), _copied(network))
    if not found and validation:  # an epoch that makes it worse than it came is not kept
        standing.best = judged(learner, validation, recipe.batch, device)
    began = time.monotonic() - standing.seconds
    saved = time.monotonic()

    def save() -> None:
        standing.seconds = time.monotonic() - began
        if run.checkpoint is not None:
            run.checkpoint.save(standing, network, optimiser, best, scaler)

    steps = len(_steps(learner, training, recipe, 0))
    while standing.epoch < recipe.epochs and standing.waited < recipe.patience:
        _train_mode(network)
        for rows in _steps(learner, training, recipe, standing.epoch)[standing.step :]:
            for group in optimiser.param_groups:
                group["lr"] = group["initial_lr"] * recipe.factor(standing.total, steps * recipe.epochs)
            loss = _step(learner, rows, recipe, optimiser, scaler, run)
            standing.sums.append(loss)
            standing.step, standing.total = standing.step + 1, standing.total + 1
            run.listener(Told(standing.epoch, standing.total, steps * recipe.epochs, loss))
            if run.stop():
                save()
                raise Interrupted(f"stopped in epoch {standing.epoch + 1} of {recipe.epochs}")
            if time.monotonic() - saved >= run.every_s:
                save()
                saved = time.monotonic()
            if time.monotonic() > run.deadline:
                break
        _end_epoch(learner, validation, recipe, standing, device)
        _noted(standing, run)
        if standing.waited == 0:
            best = _copied(network)
        if time.monotonic() > run.deadline:
            break
    with torch.no_grad():
        for name, value in tuned_weights(network).items():
            value.copy_(best[name])  # to the device that the network is on
    network.eval()
    return Curve(standing.train, standing.validation, standing.best_epoch, time.monotonic() - began)


def judged(learner: Learner, rows: Sequence[int], size: int, device: Device) -> float:
    """Return what epochs are compared by on rows: the mean of the learner's `fault`, or of its loss."""
    return mean_loss(learner, rows, size, device, getattr(learner, "fault", None))


def mean_loss(
    learner: Learner,
    rows: Sequence[int],
    size: int,
    device: Device,
    measure: Callable[[Batch], Tensor] | None = None,
) -> float:
    """Return the mean loss of rows (or another summed measure's mean), without learning from them."""
    measure = measure or learner.loss
    learner.network.eval()
    total, weight = 0.0, 0.0
    with torch.inference_mode(), device.autocast():
        for batch in _batches(learner, sorted(rows, key=learner.length), size, device):
            total += float(measure(batch))
            weight += learner.weight(batch)
    return total / max(weight, 1e-9)


def _step(
    learner: Learner,
    rows: Sequence[int],
    recipe: Recipe,
    optimiser: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    run: Run,
) -> float:
    """Gather the gradient of a step's rows, batch by batch, clip it, and step; returns the mean loss."""
    device = run.device
    batches = list(_batches(learner, rows, recipe.batch, device))
    weight = sum(map(learner.weight, batches))
    total = 0.0
    for batch in batches:
        with device.autocast():
            loss = learner.loss(batch) / max(weight, 1e-9)
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        total += loss.item()
    scaler.unscale_(optimiser)
    if run.recorder is not None:
        run.recorder.step(total, optimiser)
    torch.nn.utils.clip_grad_norm_([p for g in optimiser.param_groups for p in g["params"]], recipe.clip)
    scaler.step(optimiser)
    scaler.update()
    optimiser.zero_grad()
    return total


def _end_epoch(
    learner: Learner, validation: Sequence[int], recipe: Recipe, standing: Standing, device: Device
) -> None:
    """Note the epoch's losses and whether its weights are the best; without validation rows the last are."""
    standing.train.append(sum(standing.sums) / max(1, len(standing.sums)))
    standing.waited += 1
    if validation:
        loss = judged(learner, validation, recipe.batch, device)
        standing.validation.append(loss)
        better = standing.best is None or loss < standing.best - 1e-4
    else:
        loss, better = standing.train[-1], True
    if better:
        standing.best, standing.best_epoch, standing.waited = loss, standing.epoch, 0
    standing.epoch, standing.step, standing.sums = standing.epoch + 1, 0, []


def _noted(standing: Standing, run: Run) -> None:
    """Tell who listens of the epoch that ended."""
    if standing.validation:
        run.epoch(standing.epoch - 1, standing.validation[-1])
    if run.recorder is not None:
        run.recorder.epoch(standing.train[-1], standing.validation[-1] if standing.validation else None)
        if time.monotonic() > run.deadline:
            run.recorder.stopped = OUT_OF_TIME


def _steps(learner: Learner, rows: Sequence[int], recipe: Recipe, epoch: int) -> list[list[int]]:
    """Return the rows of each step of an epoch: the same for the same seed, whatever came before."""
    generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + epoch)
    order = torch.randperm(len(rows), generator=generator).tolist()
    size = recipe.batch * recipe.accumulate
    shuffled = [rows[at] for at in order]
    pools = [shuffled[at : at + _POOL * size] for at in range(0, len(shuffled), _POOL * size)]
    alike = [sorted(pool, key=learner.length) for pool in pools]
    steps = [pool[at : at + size] for pool in alike for at in range(0, len(pool), size)]
    return [steps[at] for at in torch.randperm(len(steps), generator=generator).tolist()]


def _batches(learner: Learner, rows: Sequence[int], size: int, device: Device) -> list[Batch]:
    return [
        {name: value.to(device.name) for name, value in learner.collate(rows[at : at + size]).items()}
        for at in range(0, len(rows), size)
    ]


def _train_mode(network: nn.Module) -> None:
    """Turn dropout on in what learns; what is frozen answers as it will in service."""
    network.train()
    for part in network.modules():
        weights = list(part.parameters())
        if weights and not any(weight.requires_grad for weight in weights):
            part.eval()


def _copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in tuned_weights(network).items()}
