"""The code that workers import: what is followed, what is left out, and that the real jobs' is small."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra.flink.errors import FlinkError
from infra.flink.jobs import MODULES
from infra.flink.package import closure, module_path, pack, root

TYPES_ALONE = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from trainers import loop\n"
IMPORTED = """
import importlib, json, pathlib, sys
code, *modules = sys.argv[1:]
sys.path[:] = [code] + [path for path in sys.path if not pathlib.Path(path, "infra", "flink").is_dir()]
for module in modules:
    importlib.import_module(module)
files = [getattr(module, "__file__", None) or "" for name, module in sys.modules.items()
         if name.split(".")[0] in {"schemas", "streams", "infra", "headrace_native"}]
print(json.dumps([sorted(sys.modules), [file for file in files if not file.startswith(code)]]))
"""
HEAVY = ("torch", "transformers", "onnxruntime", "captum", "mlflow")


def written(base: Path, files: dict[str, str]) -> Path:
    """Write modules below a folder."""
    for name, text in files.items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(text, encoding="utf-8")
    return base


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A small installation."""
    files = {
        "streams/__init__.py": "",
        "streams/jobs/__init__.py": "",
        "streams/jobs/clean.py": "import json\nimport schemas.codec\nfrom streams.operators import dedupe\n",
        "streams/operators/__init__.py": "",
        "streams/operators/dedupe.py": "def late():\n    from ..clock import now\n",
        "streams/clock.py": TYPES_ALONE,
        "streams/unused.py": "",
        "schemas/__init__.py": "",
        "schemas/codec.py": "",
        "trainers/__init__.py": "",
        "trainers/loop.py": "import torch\n",
    }
    return written(tmp_path / "installation", files)


def test_imports_are_followed_and_nothing_else_comes_along(base: Path) -> None:
    """Packages, names in modules, relative and late imports count; imports for types alone do not."""
    found = closure(["streams.jobs.clean"], base)
    assert set(found) == {
        *("streams", "streams.jobs", "streams.jobs.clean", "streams.operators", "streams.operators.dedupe"),
        *("streams.clock", "schemas", "schemas.codec"),
    }
    with pytest.raises(FlinkError, match=r"streams\.jobs\.gone"):
        closure(["streams.jobs.gone"], base)


def test_equal_code_is_packed_once_and_changed_code_elsewhere(base: Path, tmp_path: Path) -> None:
    """The folder is named after its contents: what runs is never changed under a running job."""
    first = pack(["streams.jobs.clean"], tmp_path / "code", base)
    assert pack(["streams.jobs.clean"], tmp_path / "code", base) == first
    (base / "streams" / "clock.py").write_text("changed = True\n", encoding="utf-8")
    second = pack(["streams.jobs.clean"], tmp_path / "code", base)
    assert second != first
    assert (first / "streams" / "clock.py").read_text(encoding="utf-8") != "changed = True\n"
    assert {path.name for path in (tmp_path / "code").iterdir()} == {first.name, second.name}


def test_the_jobs_of_this_installation_need_nothing_heavy(tmp_path: Path) -> None:
    """What is shipped imports by itself, where no other Headrace is seen, without torch and its kin."""
    modules = [module for module in MODULES.values() if module_path(root(), module)]
    code = pack(modules, tmp_path)
    size = sum(path.stat().st_size for path in code.rglob("*") if path.is_file())
    assert size < 16 * 2**20
    argv = [sys.executable, "-c", IMPORTED, str(code), *modules]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=tmp_path)
    imported, from_elsewhere = json.loads(done.stdout.splitlines()[-1])
    assert not {*HEAVY} & {*imported}
    assert not from_elsewhere
