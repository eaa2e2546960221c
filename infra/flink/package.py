"""The code that a cluster's Python workers import: consumes this installation, produces one small folder.

A job's module and what it imports of ours, followed from import to import, and nothing else: what the workers
share with the other parts of Headrace (msgspec, numpy) is installed where they run, torch need not be. It is
a folder and no archive, since Python loads no native module from inside an archive.
"""

import ast
import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from infra.flink.errors import FlinkError

OURS: Final = ("schemas", "streams", "infra", "trainers", "serving")
NATIVE: Final = "headrace_native"


def root() -> Path:
    """Return the folder that holds Headrace's packages."""
    return Path(__file__).parents[2]


def closure(modules: Sequence[str], base: Path) -> dict[str, Path]:
    """Return the modules and all of ours in `base` that they import, by their dotted names.

    Imports inside of functions count; what stands under `if TYPE_CHECKING` is not imported at run time and
    does not. A package's `__init__` belongs to each of its modules.

    Raises:
        FlinkError: a module named is not there.
    """
    found: dict[str, Path] = {}
    for module in modules:
        if module_path(base, module) is None:
            raise FlinkError(f"{module} is no module of this installation")
    left = list(modules)
    while left:
        module = left.pop()
        path = module_path(base, module)
        if module in found or path is None:
            continue  # known, or a name inside of a module
        found[module] = path
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        left += [module.rpartition(".")[0], *_imports(path, package)]
    return found


def pack(modules: Sequence[str], target: Path, base: Path | None = None) -> Path:
    """Copy the closure of `modules` into a folder below `target` and return that.

    Its name is of the contents: equal code is packed once, and what runs is never overwritten.
    """
    start = root() if base is None else base
    files = {str(path.relative_to(start)): path for path in closure(modules, start).values()}
    if any(NATIVE in path.read_text(encoding="utf-8") for path in files.values()):
        files |= _native()
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{files[name].stat().st_size}\0".encode() + files[name].read_bytes())
    folder = target / f"code-{digest.hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".code-", dir=target) as scratch:
        whole = Path(scratch) / "code"
        for name, path in files.items():
            (whole / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, whole / name)
        whole.rename(folder)
    return folder


def module_path(base: Path, module: str) -> Path | None:
    """Return a module's file, None for what is not ours or no module."""
    if module.split(".", maxsplit=1)[0] not in OURS:
        return None
    stem = base.joinpath(*module.split("."))
    for path in (stem / "__init__.py", stem.with_name(f"{stem.name}.py")):
        if path.is_file():
            return path
    return None


def _imports(path: Path, package: str) -> Iterator[str]:
    """Yield the absolute dotted name of every import of a module, which may name a thing in a module."""
    left: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"), str(path))]
    while left:
        node = left.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            left += node.orelse
            continue
        left += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            stem = ".".join([*above, *([node.module] if node.module else [])])
            yield stem
            yield from (f"{stem}.{alias.name}" for alias in node.names)


def _native() -> dict[str, Path]:
    """Return the files of the native module as it is installed here.

    Raises:
        FlinkError: it is not installed.
    """
    spec = find_spec(NATIVE)
    if spec is None or not spec.submodule_search_locations:
        raise FlinkError("the native module is not installed here: uv sync --locked --extra flink")
    folder = Path(spec.submodule_search_locations[0])
    return {f"{NATIVE}/{path.name}": path for path in folder.iterdir() if path.suffix in {".py", ".so"}}
