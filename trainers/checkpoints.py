"""Where a training stands, on disk: consumes weights, optimiser and generators, returns them after a crash.

One safetensors file, replaced in one rename, so that a killed process leaves a whole one. A training that
goes on from it ends with the weights of one that was never stopped.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from schemas.errors import Fatal


class Standing(msgspec.Struct, kw_only=True):
    """How far a training is: `step` steps into `epoch`, the losses so far, and since when it waits."""

    epoch: int = 0
    step: int = 0
    total: int = 0
    best: float | None = None
    best_epoch: int = -1
    waited: int = 0
    sums: list[float] = []
    train: list[float] = []
    validation: list[float] = []
    seconds: float = 0.0


class Checkpoint:
    """The file of one training. `fingerprint` tells the training apart: data, base and recipe."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path = path
        self.fingerprint = fingerprint

    def save(
        self,
        standing: Standing,
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        best: Mapping[str, Tensor],
        scaler: torch.amp.GradScaler,
    ) -> None:
        """Write everything that the next step depends on."""
        tensors = {f"now.{name}": value for name, value in tuned_weights(network).items()}
        tensors |= {f"best.{name}": value for name, value in best.items()}
        for number, moments in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{name}": value for name, value in moments.items()}
        tensors["random.cpu"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        metadata = {
            "fingerprint": self.fingerprint,
            "standing": msgspec.json.encode(standing).decode(),
            "scaler": msgspec.json.encode(scaler.state_dict()).decode(),
        }
        temporary = self.path.with_suffix(".tmp")
        save_file(
            {name: value.detach().cpu().contiguous() for name, value in tensors.items()}, temporary, metadata
        )
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(self.path)

    def restore(
        self,
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
    ) -> tuple[Standing, dict[str, Tensor]] | None:
        """Put everything back as it was saved; returns the standing and the best weights if there is a file.

        Raises:
            Fatal: it is of another training, or damaged.
        """
        if not self.path.is_file():
            return None
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        except SafetensorError as error:
            raise Fatal(f"{self.path} is damaged ({error}); remove it to start anew") from error
        if metadata.get("fingerprint") != self.fingerprint:
            raise Fatal(
                f"{self.path} is of a training with other data, another base or other settings: repeat the"
                " command that was interrupted, or start anew in another folder"
            )
        now = _under("now.", tensors)
        parameters = dict(network.named_parameters())
        with torch.no_grad():
            for name, value in now.items():
                parameters[name].copy_(value)
        _restore_optimiser(optimiser, tensors)
        scaler.load_state_dict(msgspec.json.decode(metadata["scaler"]))
        torch.set_rng_state(tensors["random.cpu"])
        if "random.cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["random.cuda"])
        return msgspec.json.decode(metadata["standing"], type=Standing), _under("best.", tensors)

    def remove(self) -> None:
        """Forget a training that has come to its end."""
        for file in (self.path, self.path.with_suffix(".tmp")):
            file.unlink(missing_ok=True)


def tuned_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights that learn, by name."""
    return {name: value for name, value in network.named_parameters() if value.requires_grad}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    moments: dict[int, dict[str, Any]] = {}
    for name, value in _under("optimiser.", tensors).items():
        number, moment = name.split(".", maxsplit=1)
        moments.setdefault(int(number), {})[moment] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
