"""How long each step of a training took: produces seconds by name, and tells who listens."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Profile:
    """Seconds of each step, and who wants to hear of it."""

    def __init__(self, listener: Callable[[str], None]) -> None:
        self.seconds: dict[str, float] = {}
        self._listener = listener

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time one step."""
        self._listener(name)
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 3)
