"""The training loop: schedule, accumulation, early stopping; one that was killed ends as one that was not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from schemas.errors import Fatal
from tests.waiting import eventually
from trainers.checkpoints import Checkpoint, tuned_weights
from trainers.devices import Device
from trainers.fit import Interrupted, Run, fit
from trainers.perceptron import Perceptron, sensor_classifier
from trainers.recipe import Mode, Recipe, split
from trainers.tasks.vectors import VectorLearner

CPU = Device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Leave the other core to the other tests."""
    torch.set_num_threads(1)


def _learner(seed: int = 1, rows: int = 300) -> VectorLearner:
    chance = np.random.default_rng(seed)
    values = chance.normal(size=(rows, 6)).astype(np.float32)
    truth = (values[:, 0] + values[:, 1] > 0).astype(np.int64)
    torch.manual_seed(seed)
    return VectorLearner(sensor_classifier(("no", "yes"), values), values, truth)


def _fit(learner: VectorLearner, recipe: Recipe, **run) -> dict[str, torch.Tensor]:
    fit(learner, range(250), range(250, 300), recipe, Run(device=CPU, **run))
    return {name: value.detach().clone() for name, value in tuned_weights(learner.network).items()}


@given(steps=st.integers(1, 500), warmup=st.floats(0.0, 0.5))
def test_rates_rise_then_fall(steps, warmup):
    """The factor is in (0, 1], never rises after it fell, and reaches 1 at the end of the warm-up."""
    recipe = Recipe(warmup=warmup)
    factors = [recipe.factor(step, steps) for step in range(steps)]
    assert all(0.0 < factor <= 1.0 for factor in factors)
    assert max(factors) == 1.0
    top = factors.index(1.0)
    assert factors[: top + 1] == sorted(factors[: top + 1])
    assert factors[top:] == sorted(factors[top:], reverse=True)


@given(rows=st.integers(20, 400), seed=st.integers(0, 99))
def test_a_split_puts_each_row_into_one_part(rows, seed):
    """Training, validation and test rows are all the rows, each once, and the same for the same seed."""
    parts = split(rows, Recipe(seed=seed))
    assert sorted(row for part in parts for row in part) == list(range(rows))
    assert parts == split(rows, Recipe(seed=seed))


def test_too_few_rows_are_refused():
    """Three rows cannot be trained on, validated and tested."""
    with pytest.raises(Fatal, match="3 rows are too few"):
        split(3, Recipe())


def test_the_same_seed_gives_the_same_weights():
    """Two trainings are equal bit by bit; another seed gives others."""
    first, second = (_fit(_learner(), Recipe(epochs=2)) for _ in range(2))
    other = _fit(_learner(), Recipe(epochs=2, seed=8))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_accumulated_batches_step_like_one_large_batch():
    """Four batches of 8 give the gradient of one of 32, class weights included."""
    recipe = Recipe(epochs=2, batch=32, validation=0.0)
    learners = [_learner(), _learner()]
    for learner in learners:
        learner.perceptron.dropout.p = 0.0  # masks are drawn a batch
    large = _fit(learners[0], recipe)
    small = _fit(learners[1], Recipe(epochs=2, batch=8, accumulate=4, validation=0.0))
    for name, value in large.items():
        torch.testing.assert_close(small[name], value, rtol=1e-4, atol=1e-6)


def test_it_stops_early_and_keeps_the_best_weights():
    """On labels that mean nothing the validation loss soon rises: it ends, and the best weights stay."""
    learner = _learner()
    learner._truth = torch.from_numpy(np.random.default_rng(5).integers(0, 2, 300))
    curve = fit(learner, range(250), range(250, 300), Recipe(epochs=60, patience=3), Run(device=CPU))
    assert len(curve.train) < 60
    assert len(curve.train) == curve.kept + 1 + 3
    if curve.kept >= 0:
        assert min(curve.validation) >= curve.validation[curve.kept] - 1e-4


def test_a_stopped_training_goes_on_to_the_same_weights(tmp_path):
    """Stopped every third step and resumed until it ends, its weights are those of one that never was."""
    recipe = Recipe(epochs=3, batch=16, accumulate=2)
    whole = _fit(_learner(), recipe)
    stops = 0
    while True:
        steps = iter(range(1000))
        checkpoint = Checkpoint(tmp_path / "checkpoint.safetensors", "same")
        try:
            parts = _fit(_learner(), recipe, checkpoint=checkpoint, stop=lambda steps=steps: next(steps) == 2)
            break
        except Interrupted:
            stops += 1
    assert stops > 3
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    """Other data or another recipe under the same name would be neither the one nor the other."""
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(Interrupted):
        _fit(_learner(), Recipe(), checkpoint=Checkpoint(path, "one"), stop=lambda: True)
    with pytest.raises(Fatal, match="other data, another base or other settings"):
        _fit(_learner(), Recipe(), checkpoint=Checkpoint(path, "two"))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(Fatal, match="damaged"):
        _fit(_learner(), Recipe(), checkpoint=Checkpoint(path, "one"))


def test_a_deadline_ends_a_training_with_what_it_has():
    """A moment that has passed lets one step through, and nothing is raised."""
    curve = fit(_learner(), range(250), range(250, 300), Recipe(epochs=9), Run(device=CPU, deadline=0.0))
    assert len(curve.train) == 1


def test_head_weights_are_those_that_learn():
    """A network's tuned weights are all it has, unless some are frozen."""
    network = Perceptron("classifier", (2, 3, 2), ("a", "b"))
    network.layers[0].requires_grad_(False)
    assert set(tuned_weights(network)) == {"layers.1.weight", "layers.1.bias"}
    assert Recipe(mode=Mode.HEAD).rate == 0.0


KILLED = """
import sys
from pathlib import Path
from tests.unit.trainers.test_fit import CPU, _learner
import torch
from safetensors.torch import save_file
from trainers.checkpoints import Checkpoint, tuned_weights
from trainers.fit import Run, fit
from trainers.recipe import Recipe

torch.set_num_threads(1)
folder = Path(sys.argv[1])
learner = _learner()
checkpoint = Checkpoint(folder / "checkpoint.safetensors", "same")
told = folder / "steps"
def tell(step):
    told.write_text(str(step.done))
fit(learner, range(250), range(250, 300), Recipe(epochs=6, batch=16),
    Run(checkpoint, 0.0, tell, device=CPU))
save_file(tuned_weights(learner.network), folder / "end.safetensors")
"""


def test_a_killed_process_goes_on_to_the_same_weights(tmp_path):
    """Killed with SIGKILL in the middle and started again, it ends with the weights of one that was not."""
    whole = _fit(_learner(), Recipe(epochs=6, batch=16))
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    running = subprocess.Popen(command, cwd=root, env=environment)
    told = tmp_path / "steps"
    eventually(lambda: told.is_file() and int(told.read_text() or 0) > 20, 60)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    assert not (tmp_path / "end.safetensors").exists()
    assert (tmp_path / "checkpoint.safetensors").is_file()
    subprocess.run(command, cwd=root, env=environment, check=True, timeout=60)
    end = load_file(tmp_path / "end.safetensors")
    assert all(torch.equal(whole[name], end[name]) for name in whole)
