"""What ONNX Runtime is asked for, provider by provider: consumes which there are, produces their options.

TensorRT builds an engine for the shapes of a profile, which takes minutes; it is kept in a folder of its own
for each graph, GPU and TensorRT version, since an engine fits no other. Nothing here needs a GPU.
"""

import ctypes
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

TENSORRT: Final = "TensorrtExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"

_TENSORRT: Final = "libnvinfer.so.10"
"""What ONNX Runtime's provider is linked against; `serving.libraries` has loaded it by then."""

Asked = str | tuple[str, dict[str, Any]]


class Shapes(NamedTuple):
    """An input's shapes, (rows, tokens) or (rows, features): the least, the usual and the largest one."""

    least: tuple[int, ...]
    usual: tuple[int, ...]
    most: tuple[int, ...]


class Engines(NamedTuple):
    """Where engines are kept, and what tells one from another besides its graph."""

    folder: Path
    gpu: str
    tensorrt: str

    def of(self, graph: bytes) -> Path:
        """Return the folder of a graph's engine on this GPU and TensorRT."""
        digest = hashlib.sha256(graph).hexdigest()
        return self.folder / f"{digest}-{_plain(self.gpu)}-trt{_plain(self.tensorrt)}"


def text_shapes(max_rows: int, max_tokens: int) -> dict[str, Shapes]:
    """Return the profile of a text graph: one row of one token up to a whole batch of the longest."""
    shapes = Shapes((1, 1), (1, min(16, max_tokens)), (max_rows, max_tokens))
    return {"input_ids": shapes, "attention_mask": shapes}


def asked(
    usable: Sequence[str], graph: bytes, engines: Engines | None, shapes: dict[str, Shapes],
    *, exact: bool = True,
) -> list[Asked]:  # fmt: skip
    """Return the providers in the order they came, TensorRT with its cache and profile.

    Without `engines` TensorRT is left out: it would build its engine anew at every start. `exact` has CUDA
    multiply FP32 as such: its default, TF32, keeps 10 of the 23 bits, and golden answers are the processor's.
    """
    wanted: list[Asked] = []
    for name in usable:
        if name == CUDA:
            wanted.append((CUDA, {"use_tf32": int(not exact)}))
        elif name != TENSORRT:
            wanted.append(name)
        elif engines is not None and shapes:
            folder = engines.of(graph)
            folder.mkdir(parents=True, exist_ok=True)
            wanted.append((name, _options(folder, shapes)))
    return wanted


def installed(home: Path) -> Engines | None:
    """Return where engines go for the first GPU of this machine; None where GPU or TensorRT is not there."""
    version, name = _tensorrt(), gpu()
    return Engines(home / "serving" / "engines", name, version) if name and version else None


def _options(folder: Path, shapes: dict[str, Shapes]) -> dict[str, Any]:
    profiles = {
        f"trt_profile_{name}_shapes": ",".join(
            f"{given}:{'x'.join(map(str, getattr(each, field)))}" for given, each in shapes.items()
        )
        for name, field in (("min", "least"), ("opt", "usual"), ("max", "most"))
    }
    return {
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": str(folder),
        **profiles,
    }


def _tensorrt() -> str:
    """Return the version of the library that is loaded, whichever package or archive it came from."""
    try:
        library = ctypes.CDLL(_TENSORRT)
    except OSError:
        return ""
    return version_of(library.getInferLibVersion())


def version_of(number: int) -> str:
    """Return TensorRT's version from the number that the library calls itself by, 101601 for 10.16.1."""
    major, rest = divmod(number, 10_000)
    return f"{major}.{rest // 100}.{rest % 100}"


def gpu() -> str:
    """Return the name of the first GPU, as its driver says it; nothing where there is none."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ""
    device, name = ctypes.c_int(0), ctypes.create_string_buffer(256)
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0):
        return ""
    return "" if driver.cuDeviceGetName(name, 256, device) else name.value.decode(errors="replace")


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-")
