"""The demo's data folder: produces a clean folder and the `headrace.toml` that its stack runs with."""

from pathlib import Path
from typing import Final

from infra.demo.plan import Plan
from infra.local.workspace import claim
from schemas.record import Kind

MARKER: Final = ".headrace-demo"
_RUNS: Final = ("stack.lock", "stack.json")


def prepare(home: Path) -> None:
    """Make the folder, or empty one that an earlier demo made.

    Raises:
        Fatal: something that is not the demo's lies there, or a stack runs in it.
    """
    claim(home, "headrace demo", MARKER)


def write_config(plan: Plan, webhook: str, *, kind: Kind, labelled: bool) -> Path:
    """Write the run's `headrace.toml`. `kind` and `labelled` describe a replayed stream."""
    sections = [_webhook(webhook)]
    if plan.replay is None:
        sections += [_requests(plan), _HOST, _LOGS]
    else:
        sections.append(_replayed(plan, kind, labelled=labelled))
        sections += [text for name, text in (("host", _HOST), ("logs", _LOGS)) if name != plan.stream]
    path = plan.home / "headrace.toml"
    path.write_text("\n".join(sections), encoding="utf-8")
    return path


def _webhook(url: str) -> str:
    return f'[alerts.webhook]\nurl = "{url}"\n'


def _requests(plan: Plan) -> str:
    """Describe the watched stream: an error drift is what asks for training."""
    return f"""[streams.requests]
kind = "api"
dedupe = {{ window = "1h" }}

[streams.requests.model]
task = "classification"
base = "minilm"
# Little replay: on two cores that serve as well, every text that is not embedded yet costs the loop 15 ms.
learn = {_learn(plan)}

[streams.requests.drift]
on_error = "increment"
"""


def _learn(plan: Plan) -> str:
    lengths = plan.phases
    labels = f"min_labels = {lengths.min_labels}, min_recent = {lengths.min_labels}, recent = 1500"
    return f"{{ {labels}, replay = {lengths.replay} }}"


def _replayed(plan: Plan, kind: Kind, *, labelled: bool) -> str:
    task = "anomaly" if kind is Kind.SENSOR and not labelled else "classification"
    model = (
        f'[streams.{plan.stream}.model]\ntask = "{task}"\nlearn = {_learn(plan)}\n'
        if labelled or kind is Kind.SENSOR
        else ""
    )
    return f'[streams.{plan.stream}]\nkind = "{kind.value}"\n{model}'


_HOST: Final = """[streams.host]
kind = "sensor"

[streams.host.model]
task = "anomaly"
learn = { min_labels = 90, epochs = 100 }
"""

_LOGS: Final = """[streams.logs]
kind = "log"
"""
