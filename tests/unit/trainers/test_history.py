"""The record of a training's steps: true to the gradients, bounded, and safe to write as JSON."""

import msgspec
import pytest
import torch

from trainers.history import History, Recorder


def _optimiser() -> torch.optim.Optimizer:
    weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    weight.grad = torch.tensor([3.0, 4.0])
    return torch.optim.SGD([weight], lr=0.5)


def test_a_step_has_the_norm_of_its_gradients_and_changes_none() -> None:
    """The Euclidean norm over all parameters that have a gradient, and the rate that will be used."""
    recorder, optimiser = Recorder("head"), _optimiser()
    recorder.step(1.25, optimiser)
    step = recorder.history().steps[0]
    assert (step.loss, step.learning_rate) == (1.25, 0.5)
    assert step.gradient_norm == pytest.approx(5.0)
    assert optimiser.param_groups[0]["params"][0].grad.tolist() == [3.0, 4.0]


def test_a_long_training_keeps_evenly_spread_steps() -> None:
    """Of ten thousand steps at most two thousand stay, the first among them, at one distance."""
    recorder, optimiser = Recorder("head"), _optimiser()
    for number in range(10_000):
        recorder.step(float(number), optimiser)
    steps = [step.step for step in recorder.history().steps]
    assert 1000 <= len(steps) < 2000
    assert steps == list(range(0, 10_000, steps[1]))


def test_a_training_that_diverged_can_be_written_and_read() -> None:
    """NaN and infinity, which JSON has not, become None."""
    recorder = Recorder("head")
    recorder.step(float("nan"), _optimiser())
    recorder.epoch(float("inf"), float("nan"))
    history = recorder.history() + Recorder("encoder").history()
    again = msgspec.json.decode(msgspec.json.encode(history), type=History)
    assert again == history
    assert (again.steps[0].loss, again.epochs[0].loss, again.epochs[0].validation_loss) == (None, None, None)
