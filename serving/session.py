"""Makes ONNX Runtime sessions from a release's bytes, on the best execution provider that really works.

Measured on 2 cores with MiniLM INT8, texts of 24 tokens (see `infra/decisions/0005-…`): one intra-op thread
per session and as many rows at once as there are threads beats several threads inside one row, and without
spinning a waiting session leaves the core to the stream. The arena, ONNX Runtime's default, is on.
"""

import ctypes
import re
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from infra.runtime.log import get_logger
from infra.runtime.settings import home
from serving.engines import CUDA, TENSORRT, Asked, Shapes, asked, installed
from serving.libraries import load, packaged
from serving.release import BadRelease

_log = get_logger(__name__)
_CPU: Final = "CPUExecutionProvider"
_ERRORS_ONLY: Final = 3
_CUDA_FAILURE: Final = re.compile(r"(?P<failure>(CUDA|CUBLAS|CUDNN) failure \d+: [^;]+)")
_GPU_LIBRARIES: Final = {
    TENSORRT: "libonnxruntime_providers_tensorrt.so",
    CUDA: "libonnxruntime_providers_cuda.so",
}

Feed = dict[str, npt.NDArray[Any]]


class Providers(NamedTuple):
    """The providers that can be asked for, best first, and why the others cannot."""

    usable: tuple[str, ...]
    missing: dict[str, str]


PROCESSOR: Final = Providers((_CPU,), {})
"""The processor alone, for graphs that are made for it."""


@cache
def providers() -> Providers:
    """Find out which providers can load, without letting ONNX Runtime try and complain.

    A GPU provider needs the driver, and each library that its own shared object is linked against, from the
    system or from packages. All are loaded, so the reason names the first one that is missing.
    """
    import onnxruntime

    usable, missing = [], {}
    available = onnxruntime.get_available_providers()
    folder = Path(onnxruntime.__file__).parent / "capi"
    for name, library in _GPU_LIBRARIES.items():
        if name not in available:
            missing[name] = "not in this build of ONNX Runtime"
            continue
        reason = _driver() or _loadable(folder, library)
        if reason:
            missing[name] = reason
        else:
            usable.append(name)
    return Providers((*usable, _CPU), missing)


@cache
def _driver() -> str:
    """Return why no NVIDIA device can be used, or nothing."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "no NVIDIA driver (libcuda.so.1)"
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return "the NVIDIA driver sees no device"
    return ""


def _loadable(folder: Path, library: str) -> str:
    """Return why a provider's library cannot be loaded, or nothing."""
    try:
        ctypes.CDLL(str(folder / "libonnxruntime_providers_shared.so"), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        return str(error)
    return load(str(folder / library), packaged())


class Session:
    """One loaded graph: named arrays in, the one output array out. Safe to call from several threads."""

    def __init__(
        self, graph: bytes, *, inputs: tuple[str, ...], outputs: tuple[str, ...],
        shapes: dict[str, Shapes] | None = None, found: Providers | None = None,
        exact: bool = True, kept: Path | None = None,
    ) -> None:  # fmt: skip
        """Load a graph that takes exactly `inputs` and gives one of `outputs`.

        `shapes` are what TensorRT builds an engine for; without them it is not asked. `found` are the
        providers to choose among, else those of this machine. One that cannot take the graph is passed over,
        and named with its reason in `passed_over`. `exact` keeps CUDA from TF32. `kept` is the data folder of
        engines, else the usual one.

        Raises:
            BadRelease: no ONNX graph, one that this runtime cannot run, or other inputs and outputs.
        """
        import onnxruntime

        usable = found or providers()
        self.passed_over: dict[str, str] = {}
        engines = installed(kept or home()) if shapes and TENSORRT in usable.usable else None
        wanted = asked(usable.usable, graph, engines, shapes or {}, exact=exact)
        self._session = _opened(onnxruntime, graph, wanted, self.passed_over)
        self.provider = str(self._session.get_providers()[0])
        taken = {value.name for value in self._session.get_inputs()}
        given = [value.name for value in self._session.get_outputs()]
        if taken != set(inputs):
            raise BadRelease(f"the ONNX graph takes {sorted(taken)}, not {sorted(inputs)}")
        named = [name for name in outputs if name in given]
        if not named:
            raise BadRelease(f"the ONNX graph gives {given}, none of {list(outputs)}")
        self.output = named[0]
        _log.info(
            "session.opened",
            provider=self.provider,
            asked=list(usable.usable),
            missing=usable.missing,
            output=self.output,
        )

    def run(self, feed: Feed) -> npt.NDArray[np.float32]:
        """Run the graph; the lock of the interpreter is released meanwhile."""
        result: npt.NDArray[np.float32] = self._session.run([self.output], feed)[0]
        return result


def _opened(onnxruntime: Any, graph: bytes, wanted: list[Asked], passed_over: dict[str, str]) -> Any:
    """Open a graph on the best provider that takes it, and note those before it."""
    for first, each in enumerate(wanted):
        try:
            # Its own fallback prints to standard output, and would hide what is passed over.
            return onnxruntime.InferenceSession(
                graph, sess_options=_options(onnxruntime), providers=wanted[first:], enable_fallback=0
            )
        except Exception as error:  # ONNX Runtime's errors share no base
            reason = reason_of(error)
            if first == len(wanted) - 1:
                raise BadRelease(f"the ONNX graph does not load: {reason}") from error
            name = each if isinstance(each, str) else each[0]
            passed_over[name] = reason
            _log.warning("session.provider_passed_over", provider=name, reason=reason)
    raise BadRelease("no execution provider is usable")


def reason_of(error: Exception) -> str:
    """Return an error's first line; of one that CUDA raised what it says, without the places in C++."""
    first, *_ = str(error).splitlines() or [type(error).__name__]
    told = _CUDA_FAILURE.search(first)
    return told["failure"].strip() if told else first


def _options(onnxruntime: Any) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
