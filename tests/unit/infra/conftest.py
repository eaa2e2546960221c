"""What the tests of commands share."""

import pytest

from tests.unit.trainers import tiny


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory):
    """A BERT of two small layers, built once."""
    return str(tiny.build(tmp_path_factory.mktemp("base"), "bert"))
