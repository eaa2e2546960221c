"""The model behind BentoML: a worker process for each core.

Run as `bentoml serve bentoml_server:Judge`.
"""

from typing import Any

import bentoml
import model


@bentoml.service(workers=model.cores(), logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Judge:
    """Answers one request at a time."""

    def __init__(self) -> None:
        self._answer = model.load()

    @bentoml.api
    def predict(self, row: Any) -> dict[str, Any]:
        """Answer a text or readings."""
        return self._answer(row)
