"""The project's own text and syntax, read once for the architecture tests."""

import ast
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "streams", "trainers", "serving", "infra")
SKIPPED = {".git", ".venv", ".headrace", "__pycache__", "dist", ".hypothesis", "libs", "target"}


def files(*folders: str) -> Iterator[Path]:
    """Yield the project's files below the given folders, or all of them, without caches and data."""
    for start in [ROOT / folder for folder in folders] or [ROOT]:
        for folder, below, names in os.walk(start):
            below[:] = sorted(name for name in below if name not in SKIPPED and not name.endswith("_cache"))
            yield from (Path(folder) / name for name in sorted(names))


@cache
def modules(*folders: str) -> dict[str, ast.Module]:
    """Return the syntax tree of every Python module, by its path from the root."""
    return {
        str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8"), str(path))
        for path in files(*folders)
        if path.suffix == ".py"
    }


def dotted(path: str) -> str:
    """Return `streams.sink` for `streams/sink.py` and for `streams/sink/__init__.py`."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports(path: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and the absolute dotted name of every import in a module, nested ones included."""
    package = dotted(path).split(".")
    if not path.endswith("__init__.py"):
        package = package[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{stem}.{alias.name}"


def within(name: str, package: str) -> bool:
    """Tell whether a dotted name is a package or lies in it."""
    return name == package or name.startswith(f"{package}.")
