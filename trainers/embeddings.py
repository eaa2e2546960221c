"""A bounded store of text vectors: consumes masked texts with their vectors, produces these after a restart.

Equal masked texts have equal vectors, so a replay reservoir costs the encoder nothing the second time.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

Vectors = NDArray[np.float32]


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


class EmbeddingCache:
    """Vectors by the hash of their text, oldest out first; at most `limit` rows (20,000 of 384: 31 MB)."""

    def __init__(self, path: Path, limit: int = 20_000) -> None:
        self._path = path
        self._limit = limit
        self._changed = False
        self._vectors: dict[bytes, Vectors] = {}
        if path.is_file():
            stored = load_file(path)
            keys = stored["keys"]  # (N, 16)
            self._vectors = {
                key.tobytes(): vector for key, vector in zip(keys, stored["vectors"], strict=True)
            }

    def __len__(self) -> int:
        return len(self._vectors)

    def missing(self, texts: Sequence[str]) -> list[str]:
        """Return the distinct texts that have no vector yet, in order."""
        return [text for text in dict.fromkeys(texts) if _key(text) not in self._vectors]

    def put(self, texts: Sequence[str], vectors: Vectors) -> None:
        """Keep the vectors (N, H) of N texts."""
        for text, vector in zip(texts, vectors, strict=True):
            self._vectors[_key(text)] = vector
        self._changed = self._changed or bool(texts)

    def get(self, texts: Sequence[str]) -> Vectors:
        """Return (N, H); every text must have been put."""
        keys = [_key(text) for text in texts]
        for key in dict.fromkeys(keys):
            self._vectors[key] = self._vectors.pop(key)  # used last, dropped last
        return np.stack([self._vectors[key] for key in keys])

    def save(self) -> None:
        """Drop the oldest rows beyond the limit and write the rest, in one rename."""
        if not self._changed:
            return
        for key in list(self._vectors)[: max(0, len(self._vectors) - self._limit)]:
            del self._vectors[key]
        keys = np.frombuffer(b"".join(self._vectors), dtype=np.uint8).reshape(-1, 16)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(f".{os.getpid()}.tmp")
        save_file({"keys": keys.copy(), "vectors": np.stack(list(self._vectors.values()))}, temporary)
        temporary.replace(self._path)
        self._changed = False
