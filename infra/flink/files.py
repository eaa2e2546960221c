"""Which files a backfill reads: paths and globs as people write them in, names that Flink's workers find out.

A path is looked for here, and so must lie where the workers see it under the same name. A URI (`s3://…`,
`file:///…`) is looked for by the cluster alone, whose plugins know its store.
"""

import os
import re
from collections.abc import Sequence
from glob import has_magic, iglob
from pathlib import Path
from typing import Final

from infra.flink.errors import FlinkError

_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def found(named: Sequence[str]) -> list[str]:
    """Return the files and folders as absolute paths, each once, and URIs as they are.

    Raises:
        FlinkError: nothing is called so, a glob finds nothing, or it cannot be read.

    Example:
        >>> found(["s3://archive/2026/", "s3://archive/2026/"])
        ['s3://archive/2026/']
    """
    uris = [name for name in named if _URI.match(name)]
    paths = [path for name in named if not _URI.match(name) for path in _paths(name)]
    folders = {path for path in paths if path.is_dir()}
    kept = [path for path in paths if folders.isdisjoint(path.parents)]  # or a line would be read twice
    return list(dict.fromkeys([*map(str, kept), *uris]))


def _paths(name: str) -> list[Path]:
    """Return what a path or a glob (`**` for folders at any depth) names."""
    literal = Path(name).expanduser()
    if literal.exists() or not has_magic(name):
        matches = [literal]
    else:
        # Path.glob takes no absolute pattern
        matches = [Path(match) for match in sorted(iglob(str(literal), recursive=True))]  # noqa: PTH207
        if not matches:
            raise FlinkError(f"--files {name}: nothing is called so")
    for path in matches:
        if not path.exists():
            raise FlinkError(
                f"--files {name}: there is no such file or folder here; what only the cluster sees is named"
                " by a URI, such as file:///mnt/archive or s3://bucket/folder"
            )
        if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
            raise FlinkError(f"--files {name}: {path} cannot be read: no permission")
        if path.is_dir() and not any(below.is_file() for below in path.rglob("*")):
            raise FlinkError(f"--files {name}: there is no file in {path}")
    return [path.resolve() for path in matches]
