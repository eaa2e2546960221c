"""What the tests of tasks share: bases that are built once, on one thread."""

import pytest
import torch

from tests.unit.trainers import tiny


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    """Leave the other core to the other tests."""
    torch.set_num_threads(1)


@pytest.fixture(scope="package")
def bases(tmp_path_factory):
    """Tiny bases by architecture."""
    folder = tmp_path_factory.mktemp("bases")
    return {name: str(tiny.build(folder / name, name)) for name in ("bert", "distilbert", "roberta", "gpt2")}
