"""One run of `headrace bench devices`: consumes a plan and a release, produces all figures."""

from pathlib import Path
from typing import Any

import onnxruntime

from infra.bench.devices.plan import DevicesPlan, subject
from infra.bench.devices.serving import worths
from infra.bench.devices.tuning import Tuned, tuned
from infra.bench.stack import Say
from serving.engines import gpu
from serving.session import Providers


def measure(folder: Path, plan: DevicesPlan, found: Providers, say: Say) -> dict[str, Any]:
    """Measure a release's graphs on `found` providers, and the trainer's loop where it is wanted.

    Raises:
        Fatal: the folder holds no release of a text classifier with its rows.
    """
    model = subject(folder, plan)
    told = worths(model, found, plan, say)
    trained: dict[str, Tuned] = tuned(model, plan, say) if plan.steps else {}
    return {
        "onnxruntime": onnxruntime.__version__,
        "gpu": gpu(),
        "usable": found.usable,
        "missing": found.missing,
        "model": {"name": model.manifest.model, "base": model.manifest.base, "texts": len(model.ids)},
        "tokens": plan.tokens,
        "serving": told,
        "training": trained,
    }
