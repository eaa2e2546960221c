"""What an explanation is: the records that explaining produces, and the function that is explained.

Of a classifier that is the log-odds of one answer against all others, in nats: it does not saturate where a
probability does, and no constant added to all logits changes it. Of an anomaly model it is the score, of a
regression the number that it answers.
"""

from typing import Final

import msgspec
import torch
from torch import Tensor

from schemas.errors import Fatal
from trainers.model import ANOMALY
from trainers.perceptron import Kind, Perceptron

LOG_ODDS: Final = "log-odds"
SCORE: Final = "anomaly score"
VALUE: Final = "value"
UNITS: Final[dict[Kind, str]] = {"classifier": LOG_ODDS, "autoencoder": SCORE, "regressor": VALUE}


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """What one word or reading adds to the explained output.

    A word lies at `begin` to `end` of the text. A reading has its `value` (None where it is missing) and what
    is `usual`, the median of the first training.
    """

    name: str
    share: float
    begin: int = 0
    end: int = 0
    value: float | None = None
    usual: float | None = None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why `label` got its output: the shares of `reasons` and `baseline` add up to `output`, but for `error`.

    A regression has no label: its answer is the number itself.

    `answer` with `score` is what the release answers as it is served, `probabilities` by class beside it.
    `error` is within `bound` unless `notes` say otherwise. Of a text, what lies after character `read` came
    after the model's last token.
    """

    model: str
    version: int
    answer: str
    score: float
    probabilities: dict[str, float]
    label: str
    unit: str
    method: str
    output: float
    baseline: float
    error: float
    bound: float
    reasons: tuple[Reason, ...]
    text: str = ""
    read: int = 0
    notes: tuple[str, ...] = ()


def unit_of(network: Perceptron) -> str:
    """Return the unit of what is explained."""
    return UNITS[network.kind]


def explained_label(network: Perceptron, answer: str, wanted: str | None) -> str:
    """Return which answer is explained: the one that is wanted, or else the one that was given.

    Raises:
        Fatal: the model has no such answer.
    """
    if network.kind == "regressor":
        if wanted is not None:
            raise Fatal(f"a regression answers with one number, and never {wanted!r}")
        return ""
    if network.kind == "autoencoder":
        if wanted not in {None, ANOMALY}:
            raise Fatal(f"an anomaly model has one score to explain, that of {ANOMALY!r}, not {wanted!r}")
        return ANOMALY
    if wanted is not None and wanted not in network.labels:
        raise Fatal(f"the model never answers {wanted!r}; it answers {', '.join(network.labels)}")
    return answer if wanted is None else wanted


def explained(network: Perceptron, out: Tensor, label: str) -> Tensor:
    """Return what is explained, (B,), of the network's answers: log-odds of `label`, or the answers."""
    if network.kind != "classifier":
        return out  # (B,)
    number = network.labels.index(label)
    others = torch.cat([out[:, :number], out[:, number + 1 :]], dim=1)  # (B, C - 1)
    return out[:, number] - torch.logsumexp(others, dim=1)
