"""Groups of texts that nobody labelled: consumes texts, produces centroids and a graph to them.

Mini-batch k-means (Sculley 2010, "Web-Scale K-Means Clustering") on the base's mean vectors, scaled to
length 1.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file
from sklearn.cluster import MiniBatchKMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score

from schemas.errors import Fatal
from trainers.dataset import Array
from trainers.encoder import padded, prepare, session
from trainers.recipe import Recipe
from trainers.tasks.classification import vectors_of
from trainers.tasks.examples import Text
from trainers.tasks.graphs import TOLERANCE
from trainers.tasks.pretrained import config_of, limit
from trainers.tasks.work import Phase, Rows, Surroundings

_BATCH: Final = 256
_STARTS: Final = 5
_JUDGED: Final = 2000
"""Rows by which the silhouette is judged: it costs the square of them."""
_NAMED: Final = 3
_SAMPLE: Final = 24


class ClusteringTask:
    """Groups N texts into `clusters` groups."""

    def __init__(
        self,
        base: str,
        examples: Sequence[Text],
        rows: Rows,
        recipe: Recipe,
        around: Surroundings,
        clusters: int,
    ) -> None:
        if len(rows.training) < clusters:
            raise Fatal(f"{len(rows.training)} rows to train on cannot make {clusters} clusters")
        self._texts = [example.text for example in examples]
        self._labels = [example.label for example in examples]
        self._rows, self._seed, self._clusters = rows, recipe.seed, clusters
        self.max_tokens = limit(config_of(base), recipe.max_tokens)
        self._encoder = prepare(around.home, base, max_tokens=self.max_tokens, threads=around.threads)
        self._vectors = _unit(vectors_of(self._encoder, self._texts, around))
        self.centroids: Array = np.zeros((clusters, self._vectors.shape[1]), dtype=np.float32)

    def phases(self) -> Iterator[Phase]:
        """Yield nothing: k-means is no descent of the training loop's; it is done here, in seconds."""
        means = MiniBatchKMeans(self._clusters, random_state=self._seed, batch_size=_BATCH, n_init=_STARTS)
        means.fit(self._vectors[self._rows.training])
        self.centroids = means.cluster_centers_.astype(np.float32)
        yield from ()

    def finish(self, scratch: Path) -> None:
        """Nothing is left to do: the centroids are plain numbers."""

    def before(self, rows: Sequence[int]) -> dict[str, float]:
        return {}

    def metrics(self, rows: Sequence[int]) -> dict[str, float]:
        """Return the silhouette (-1 to 1) and, where rows have labels, the groups' agreement with them."""
        chosen = list(rows)[:_JUDGED]
        found = self._nearest(chosen)
        told: dict[str, float] = {}
        if 1 < len(set(found.tolist())) < len(chosen):
            told["silhouette"] = float(silhouette_score(self._vectors[chosen], found))
        truth = [self._labels[row] for row in chosen]
        if all(truth):
            told["adjusted_rand"] = float(adjusted_rand_score(truth, found))
        return told

    def export(self, folder: Path) -> dict[str, float]:
        graph = cluster_graph(self._encoder.graph("fp32"), self.centroids)
        path = folder / "model.onnx"
        onnx.save(graph, path)
        onnx.checker.check_model(str(path))
        texts = [self._texts[row] for row in self._rows.training[:_SAMPLE]]
        distances, nearest = session(path).run(None, padded(self._encoder.tokens(texts)))
        expected = _distances(_unit(self._encoder.features(texts)), self.centroids)
        worst = float(np.abs(distances - expected).max())
        if worst > TOLERANCE or not np.array_equal(nearest, expected.argmin(1)):
            raise Fatal(f"the graph differs from the centroids by {worst:.2g}")
        self._encoder.tokenizer.save(str(folder / "tokenizer.json"))
        save_file({"centroids": self.centroids}, folder / "centroids.safetensors")
        return {"parity": worst}

    def describe(self) -> dict[str, object]:
        """Return each cluster's size and the texts nearest to its centroid."""
        rows = self._rows.training
        distances = _distances(self._vectors[rows], self.centroids)  # (N, K)
        nearest = distances.argmin(1)
        groups = []
        for number in range(self._clusters):
            inside = np.flatnonzero(nearest == number)
            near = inside[np.argsort(distances[inside, number])][:_NAMED]
            groups.append({"size": len(inside), "texts": [self._texts[rows[at]] for at in near]})
        return {"clusters": groups, "max_tokens": self.max_tokens}

    def _nearest(self, rows: Sequence[int]) -> NDArray[np.int64]:
        return np.asarray(_distances(self._vectors[list(rows)], self.centroids).argmin(1), dtype=np.int64)


def cluster_graph(encoder: Path, centroids: Array) -> onnx.ModelProto:
    """Return the encoder's graph with `distance` (B, K) to each centroid and `cluster` (B,), the nearest."""
    model = onnx.load(encoder)
    source = model.graph.output[0].name
    weights: dict[str, NDArray[Any]] = {
        "cluster.centroids": centroids[None],  # (1, K, H)
        "cluster.axis": np.array([1], dtype=np.int64),
    }
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    model.graph.node.extend([
        helper.make_node("LpNormalization", [source], ["cluster.unit"], axis=1, p=2),
        helper.make_node("Unsqueeze", ["cluster.unit", "cluster.axis"], ["cluster.wide"]),
        helper.make_node("Sub", ["cluster.wide", "cluster.centroids"], ["cluster.away"]),  # (B, K, H)
        helper.make_node("ReduceL2", ["cluster.away"], ["distance"], axes=[2], keepdims=0),
        helper.make_node("ArgMin", ["distance"], ["cluster"], axis=1, keepdims=0),
    ])  # fmt: skip
    del model.graph.output[:]
    model.graph.output.extend([
        helper.make_tensor_value_info("distance", TensorProto.FLOAT, ["rows", len(centroids)]),
        helper.make_tensor_value_info("cluster", TensorProto.INT64, ["rows"]),
    ])  # fmt: skip
    return model


def _unit(vectors: Array) -> Array:
    lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return np.asarray(vectors / lengths, dtype=np.float32)


def _distances(vectors: Array, centroids: Array) -> Array:
    """Return (N, K) distances of unit vectors (N, H) from centroids (K, H)."""
    squared = (vectors**2).sum(1)[:, None] - 2 * vectors @ centroids.T + (centroids**2).sum(1)[None]
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)), dtype=np.float32)
