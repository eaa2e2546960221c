"""Softmax regression, learnt row by row: river's, on standardised readings, moves and newest labels."""

from typing import Any

from river import linear_model, optim, preprocessing

from infra.backtest.learners.protocol import Seen, Shares
from infra.backtest.row import Value


class Linear:
    """One binary regression for each label against the rest. Memory: a weight a reading and label."""

    def __init__(self, rate: float = 0.1) -> None:
        self._rate = rate
        self._scaler: Any = preprocessing.StandardScaler()  # river leaves most of itself untyped
        self._models: dict[str, Any] = {}

    def shares(self, seen: Seen) -> Shares:
        if not self._models:
            return {}
        x = self._scaler.transform_one(_numbers(seen))
        found = {label: model.predict_proba_one(x)[True] + 1e-9 for label, model in self._models.items()}
        total = sum(found.values())
        return {label: share / total for label, share in found.items()}

    def learn(self, seen: Seen, label: str) -> None:
        if label not in self._models:
            self._models[label] = linear_model.LogisticRegression(optim.SGD(self._rate))
        x = _numbers(seen)
        self._scaler.learn_one(x)
        x = self._scaler.transform_one(x)
        for name, model in self._models.items():
            model.learn_one(x, name == label)


def _numbers(seen: Seen) -> dict[str, float]:
    """Return the readings as numbers; each category is a reading of its own."""
    return dict(_number(name, value) for name, value in seen.all.items())


def _number(name: str, value: Value) -> tuple[str, float]:
    return (f"{name}={value}", 1.0) if isinstance(value, str) else (name, value)
