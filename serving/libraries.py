"""Loads shared libraries together with those that they need: consumes a path, produces the reason why not.

CUDA, cuDNN and TensorRT from PyPI lie in folders of their own in `site-packages` (`nvidia/cu13/lib`,
`nvidia/cudnn/lib`, `tensorrt_libs`), which the dynamic loader does not search. A library loaded by its
path is found by its name from then on. So what is missing is loaded first, by the loader's own word of it:
no list of names or versions here can go out of date.
"""

import ctypes
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_PATTERNS: Final = ("nvidia/*/lib", "tensorrt_libs")
_MISSING: Final = re.compile(r"^(?P<name>[^/:\s]+): cannot open shared object file")


def packaged(places: Sequence[str] | None = None) -> list[Path]:
    """Return the folders of `places` (else of Python's path) in which packages bring NVIDIA's libraries."""
    folders = [Path(place) for place in dict.fromkeys(sys.path if places is None else places) if place]
    return [found for folder in folders for pattern in _PATTERNS for found in sorted(folder.glob(pattern))]


def load(library: str, folders: Sequence[Path]) -> str:
    """Load a library, named or by its path, and before it what it needs; return why that fails, or nothing.

    The system's own libraries come first, then those in `folders`.
    """
    return _load(library, folders, set())


def _load(library: str, folders: Sequence[Path], tried: set[str]) -> str:
    """Load a library; `tried` are the names that were looked for in `folders`, each once, so that it ends."""
    while True:
        try:
            ctypes.CDLL(library)
        except OSError as error:
            missing = _MISSING.match(str(error))
            if missing is None or missing["name"] in tried:
                return str(error)
            name = missing["name"]
        else:
            return ""
        tried.add(name)
        found = next((folder / name for folder in folders if (folder / name).is_file()), None)
        if found is None:
            return f"{name} is missing"
        if reason := _load(str(found), folders, tried):
            return reason
