"""Which weights learn in each mode, on four architectures, and what is left of adapters afterwards."""

import pytest
import torch
from transformers import AutoModel

from schemas.errors import Fatal
from tests.unit.trainers.tiny import build
from trainers.modes import Tuned
from trainers.recipe import Mode, Recipe


@pytest.fixture(scope="module", params=["bert", "distilbert", "roberta", "gpt2"])
def base(request, tmp_path_factory):
    """A tiny base of each architecture."""
    return build(tmp_path_factory.mktemp(request.param), request.param)


def _model(base):
    return AutoModel.from_pretrained(base, attn_implementation="eager", local_files_only=True)


def _learning(model):
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


def test_each_mode_tunes_what_it_says(base):
    """Head: nothing of the encoder; top-k: the last block alone; full: all of it."""
    every = {name for name, _ in _model(base).named_parameters()}
    for mode in (Mode.HEAD, Mode.TOP, Mode.FULL):
        model = _model(base)
        Tuned(model, model.config, Recipe(mode=mode, top_layers=1))
        learning = _learning(model)
        if mode is Mode.TOP:
            assert learning and all(".1." in name for name in learning)
        else:
            assert learning == (every if mode is Mode.FULL else set())


def test_more_top_layers_than_there_are_is_refused(base):
    """Two layers cannot have three tuned."""
    model = _model(base)
    with pytest.raises(Fatal, match="there are 2 layers, of which 3"):
        Tuned(model, model.config, Recipe(mode=Mode.TOP, top_layers=3))


def test_lora_begins_as_the_base_and_merges_into_it(base):
    """Fresh adapters change no output; trained ones are in the plain weights after the merge, to rounding."""
    model = _model(base)
    ids = torch.arange(5, 14)[None]
    model.eval()
    names = set(model.state_dict())
    with torch.no_grad():
        before = model(input_ids=ids).last_hidden_state
    tuned = Tuned(model, model.config, Recipe(mode=Mode.LORA, rank=4))
    learning = _learning(model)
    assert learning and all("lora_" in name for name in learning)
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(model(input_ids=ids).last_hidden_state, before)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
        adapted = model(input_ids=ids).last_hidden_state
        tuned.merge()
        merged = model(input_ids=ids).last_hidden_state
    assert (adapted - before).abs().max() > 0.01
    torch.testing.assert_close(merged, adapted, rtol=1e-3, atol=1e-4)
    assert set(model.state_dict()) == names


def test_gradient_checkpointing_changes_no_gradient(base):
    """Activations that are computed twice give the same gradients."""
    gradients = []
    for checkpointing in (False, True):
        model = _model(base)
        recipe = Recipe(mode=Mode.TOP, top_layers=1, gradient_checkpointing=checkpointing)
        Tuned(model, model.config, recipe)
        model.train()
        torch.manual_seed(1)
        model(input_ids=torch.arange(5, 14)[None]).last_hidden_state.square().sum().backward()
        gradients.append([w.grad for w in model.parameters() if w.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 0
    for plain, twice in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, twice)
