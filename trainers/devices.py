"""Where a training computes: chooses the device, and the precision that pays on it.

On CUDA that is bfloat16, or float16 with loss scaling on older cards. On CPU it is float32: without matrix
units for bfloat16, autocast was measured to be ten times slower.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Device:
    """A device and the type of its matrix products; float32 means no autocast."""

    name: str
    precision: torch.dtype = torch.float32

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which losses are computed."""
        if self.precision is torch.float32:
            return nullcontext()
        return torch.autocast(self.name, dtype=self.precision)

    def scaler(self) -> torch.amp.GradScaler:
        """Return the loss scaler: float16 gradients underflow without one, others pass unchanged."""
        return torch.amp.GradScaler(self.name, enabled=self.precision is torch.float16)


def choose() -> Device:
    """Return the device to train on."""
    if torch.cuda.is_available():
        return Device("cuda", torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16)
    return Device("cpu")
