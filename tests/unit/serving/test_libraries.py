"""Libraries from packages: found by folder and name, in order, and what is missing is named.

Real shared libraries, built by the C compiler that the native crate needs too.
"""

import itertools
import subprocess
from pathlib import Path

import pytest

from serving.libraries import load, packaged

_numbers = itertools.count()


def library(folder: Path, name: str, *needs: Path) -> Path:
    """Build an empty shared library that is linked against `needs`, and does not say where these lie."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    linked = [f"-l:{need.name}" for need in needs]
    places = [f"-L{need.parent}" for need in needs]
    subprocess.run(
        [
            "cc",
            "-shared",
            "-xc",
            "-",
            f"-Wl,-soname,{name}",
            "-Wl,--no-as-needed",
            *places,
            *linked,
            "-o",
            path,
        ],
        input=b"",
        check=True,
    )
    return path


@pytest.fixture
def fresh() -> str:
    """A word for names that no earlier test has loaded: a loaded library is found by its name for ever."""
    return f"headracetest{next(_numbers)}"


def test_folders_of_packages_are_found_in_the_path_s_order(tmp_path: Path) -> None:
    """CUDA's, cuDNN's and TensorRT's, of the first place first; what is no folder of theirs is left out."""
    places = [str(tmp_path / "a"), str(tmp_path / "b"), ""]
    for name in ("b/nvidia/cudnn/lib", "b/nvidia/cu13/lib", "a/tensorrt_libs", "a/other/lib"):
        (tmp_path / name).mkdir(parents=True)
    found = [str(folder.relative_to(tmp_path)) for folder in packaged([*places, places[0]])]
    assert found == ["a/tensorrt_libs", "b/nvidia/cu13/lib", "b/nvidia/cudnn/lib"]


def test_what_a_library_needs_is_loaded_from_the_folders(tmp_path: Path, fresh: str) -> None:
    """Also what is needed by what is needed, in whichever folder it lies; alone it would not load."""
    deepest = library(tmp_path / "nvidia" / "cu13" / "lib", f"lib{fresh}deep.so.13")
    middle = library(tmp_path / "tensorrt_libs", f"lib{fresh}middle.so.10", deepest)
    top = library(tmp_path / "capi", f"lib{fresh}top.so", middle)
    assert load(str(top), []) == f"{middle.name} is missing"
    assert load(str(top), packaged([str(tmp_path)])) == ""


def test_what_is_missing_is_named(tmp_path: Path, fresh: str) -> None:
    """The name is that of the library which nobody has, not of the one that asks for it."""
    gone = library(tmp_path / "gone", f"lib{fresh}gone.so.10")
    middle = library(tmp_path / "nvidia" / "cu13" / "lib", f"lib{fresh}middle.so.13", gone)
    top = library(tmp_path / "capi", f"lib{fresh}top.so", middle)
    gone.unlink()
    assert load(str(top), packaged([str(tmp_path)])) == f"{gone.name} is missing"


def test_a_file_that_is_no_library_ends_it(tmp_path: Path, fresh: str) -> None:
    """The loader's own reason is told; nothing is tried for ever."""
    broken = library(tmp_path / "nvidia" / "cu13" / "lib", f"lib{fresh}broken.so.13")
    top = library(tmp_path / "capi", f"lib{fresh}top.so", broken)
    broken.write_bytes(b"no library")
    assert "broken.so.13" in load(str(top), packaged([str(tmp_path)]))


def test_libraries_that_need_each_other_end_it(tmp_path: Path, fresh: str) -> None:
    """A circle is told by the loader; each name is looked for once."""
    folder = tmp_path / "nvidia" / "cu13" / "lib"
    first = library(folder, f"lib{fresh}first.so.1")
    second = library(folder, f"lib{fresh}second.so.1", first)
    library(folder, first.name, second)
    assert load(str(second), packaged([str(tmp_path)])) != ""
