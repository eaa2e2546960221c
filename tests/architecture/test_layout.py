"""The shape of the tree: what lies at the top, and how long a module or a function may be."""

import ast
import subprocess
from pathlib import Path

from tests.architecture.tree import PACKAGES, ROOT, modules

TOP_FOLDERS = {"schemas", "streams", "trainers", "serving", "infra", "tests"}
TOP_FILES = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "pyproject.toml", "uv.lock"}
MODULE_LINES = 350
FUNCTION_LINES = 60


def test_the_top_level_is_as_agreed() -> None:
    """Nothing else is kept beside the five packages and the tests, dotfiles apart.

    What a user writes there (a `headrace.toml`, a demo's figures) is not part of the project.
    """
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    kept = {Path(line).parts for line in listed.stdout.splitlines() if not line.startswith(".")}
    assert {parts[0] for parts in kept if len(parts) > 1} == TOP_FOLDERS
    assert {parts[0] for parts in kept if len(parts) == 1} == TOP_FILES


def test_modules_are_short() -> None:
    """A module does one thing; past this length it does two."""
    lengths = {
        path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in modules(*PACKAGES)
    }
    found = [f"{path}: {lines} lines" for path, lines in lengths.items() if lines > MODULE_LINES]
    assert not found, "\n".join(found)


def test_functions_are_short() -> None:
    """A function can be read without scrolling."""
    found = [
        f"{path}:{node.lineno} {node.name}: {node.end_lineno - node.lineno + 1} lines"
        for path, tree in modules(*PACKAGES).items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES
    ]
    assert not found, "\n".join(found)


def test_every_module_says_where_it_stands() -> None:
    """Each module opens with a sentence on what it is for."""
    found = [path for path, tree in modules(*PACKAGES).items() if not ast.get_docstring(tree)]
    assert not found, "\n".join(found)


def test_no_module_is_a_drawer() -> None:
    """A name that says nothing gathers everything."""
    drawers = {"utils", "util", "helpers", "common", "misc", "base"}
    found = [path for path in modules(*PACKAGES) if drawers & set(path.removesuffix(".py").split("/"))]
    assert not found, "\n".join(found)
