"""Models of readings from rows to files: classes, numbers, forecasts and anomalies, by a perceptron each."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch

from schemas.errors import Fatal
from schemas.release import Task as Judged
from trainers import export
from trainers.dataset import Array
from trainers.evaluate import pushed
from trainers.finetune import set_threshold, set_tolerance
from trainers.metrics import classification, regression
from trainers.model import ANOMALY, NETWORK, Model, answers, probabilities
from trainers.perceptron import Kind as NetworkKind
from trainers.perceptron import Perceptron, sensor_autoencoder, sensor_classifier, sensor_regressor
from trainers.recipe import Recipe
from trainers.tasks.examples import Readings
from trainers.tasks.graphs import TOLERANCE
from trainers.tasks.kinds import Kind
from trainers.tasks.vectors import VectorLearner
from trainers.tasks.work import Phase, Rows

_SAMPLE: Final = 256
_JUDGED: Final[dict[NetworkKind, Judged]] = {
    "classifier": Judged.CLASSIFICATION,
    "regressor": Judged.REGRESSION,
    "autoencoder": Judged.ANOMALY,
}


def lagged(series: Array, target: Array, window: int, horizon: int) -> tuple[Array, Array]:
    """Return the last `window` readings before each moment as (M, F · window), and its target (M,).

    `series` (N, F) and `target` (N,) are in order of time; the target lies `horizon` rows behind the
    window's last.
    """
    count = len(series) - window - horizon + 1
    if count < 3:
        raise Fatal(f"{len(series)} rows are too few for windows of {window} and a horizon of {horizon}")
    return pasts(series, window)[:count], target[window + horizon - 1 :][:count]


def pasts(series: Array, window: int) -> Array:
    """Return the last `window` readings at each moment that has so many: (N, F) to (M, F · window)."""
    views = np.lib.stride_tricks.sliding_window_view(series, window, axis=0)  # (M, F, window)
    return np.ascontiguousarray(views.reshape(len(views), -1))


class SensorTask:
    """Learns N rows of readings (N, F)."""

    def __init__(
        self,
        learnt: Kind,
        features: Sequence[str],
        examples: Sequence[Readings],
        rows: Rows,
        recipe: Recipe,
    ) -> None:
        self.learnt, self.features, self._rows, self._recipe = learnt, tuple(features), rows, recipe
        self._values = np.array([example.values for example in examples], dtype=np.float32)
        self._labels = [example.label for example in examples]
        self._targets = np.array([example.target for example in examples], dtype=np.float32)
        self._centre, self._scale = 0.0, 1.0
        known = self._values[rows.training]
        torch.manual_seed(recipe.seed)
        truth: Array | np.ndarray[tuple[int], np.dtype[np.int64]] | None = None
        if learnt is Kind.ANOMALY:
            self.network = sensor_autoencoder(known)
        elif learnt is Kind.SENSOR_CLASSIFICATION:
            labels = sorted({self._labels[row] for row in rows.training})
            if len(labels) < 2:
                raise Fatal(
                    "all rows to train on have one and the same label; a classifier needs at least two"
                )
            self.network = sensor_classifier(labels, known)
            truth = np.array([labels.index(x) if x in labels else 0 for x in self._labels], dtype=np.int64)
        else:
            self.network = sensor_regressor(known)
            trained = self._targets[rows.training]
            self._centre, self._scale = float(trained.mean()), float(trained.std()) or 1.0
            truth = ((self._targets - self._centre) / self._scale).astype(np.float32)
        self._learner = VectorLearner(self.network, self._values, truth)

    def phases(self) -> Iterator[Phase]:
        yield Phase(self._learner, self._recipe, self._rows.training, self._rows.validation)

    def finish(self, scratch: Path) -> None:
        network: Perceptron = self.network.cpu()
        if network.kind == "autoencoder":
            with torch.no_grad():
                set_threshold(
                    network, network.standardise(torch.from_numpy(self._values[self._rows.training]))
                )
        elif network.kind == "regressor":
            network.rescale(self._centre, self._scale)
            asked = list(self._rows.validation or self._rows.training)
            errors = np.abs(network.answer(self._values[asked]) - self._targets[asked])
            set_tolerance(network, errors, self._scale)

    def before(self, rows: Sequence[int]) -> dict[str, float]:
        return {}

    def metrics(self, rows: Sequence[int]) -> dict[str, float]:
        outputs = self.network.answer(self._values[list(rows)])
        if self.network.kind == "regressor":
            return regression(self._targets[list(rows)], outputs)
        truth = np.array([self._labels[row] for row in rows])
        if self.network.kind == "classifier":
            return classification(truth, probabilities(outputs), self.network.labels)
        found = answers(outputs, self.network.labels)
        far = answers(self.network.answer(pushed(self._values[list(rows)])), self.network.labels)
        told = {"flagged": float((found == ANOMALY).mean()), "pushed_found": float((far == ANOMALY).mean())}
        if ANOMALY in truth:
            hits = float(np.sum((truth == ANOMALY) & (found == ANOMALY)))
            told["precision"] = hits / max(1.0, float(np.sum(found == ANOMALY)))
            told["recall"] = hits / float(np.sum(truth == ANOMALY))
        return told

    def export(self, folder: Path) -> dict[str, float]:
        variants = export.write(folder, self.network, None)
        sample = self._values[self._rows.training[:_SAMPLE]]
        worst = export.parity(folder, variants, self.network, None, sample)["fp32"]
        if worst > TOLERANCE:
            raise Fatal(f"the graph differs from the tuned network by {worst:.2g}")
        (folder / "training").mkdir(exist_ok=True)
        self.network.save(folder / NETWORK)
        return {"parity": worst}

    def describe(self) -> dict[str, object]:
        labels = {"labels": self.network.labels} if self.network.labels else {}
        return {"features": self.features, **labels}

    def model(self) -> Model:
        """Return the model as the trainer's releases hold it.

        Raises:
            Fatal: it looks back on rows, which a stream's model does not see.
        """
        if self.learnt is Kind.FORECAST:
            raise Fatal(
                "a stream's model sees one event at a time, so a forecast over a window has no release"
                " folder; train a regression whose target is the later reading"
            )
        return Model(_JUDGED[self.network.kind], self.network, features=self.features)
