"""The options of `headrace tune` that are its own, and the help that teaches by examples."""

from pathlib import Path
from typing import Annotated, Final

import typer

from trainers.search.kinds import Pruner, Sampler

_SEARCH: Final = "How it is searched"

HELP: Final = r"""
Search the numbers of a training: try, compare on validation rows, train with the best.

\b
What is worth trying by default, thirty times:
  headrace tune intents.csv --task classification --out tuned
For ten minutes, with what you want to know:
  headrace tune intents.csv --task classification --mode lora --budget 10m \
    --space rank=4,8,16 --space encoder_rate=1e-4..1e-2:log --out lora
Every combination:
  headrace tune machine.csv --task anomaly --sampler grid \
    --space head_rate=1e-3..1e-2:log --space batch=32,64 --out odd

The test rows are not seen before the end. OUT has the best model in `best`,
every trial in `tune.json`, and `tune.html` with plots. Ctrl-C and kill -9
cost the trial in hand: the same command goes on; more --trials go further.

Parameters: mode, head_rate, encoder_rate, weight_decay, warmup, clip, batch,
accumulate, epochs, rank (lora), top_layers (top-k), max_tokens, window (forecast).
""".replace(r"\b", "\b")

Out = Annotated[Path, typer.Option(help="The folder of the search; the same command goes on in it.")]
SamplerName = Annotated[
    Sampler,
    typer.Option(
        help="bayesian: by a model of what was good (TPE); random; or grid: every combination.",
        rich_help_panel=_SEARCH,
    ),
]
Trials = Annotated[
    int, typer.Option(min=1, max=10_000, help="At most, all calls together.", rich_help_panel=_SEARCH)
]
Budget = Annotated[
    str, typer.Option(help="Time for this call, such as 10m or 2h; none: no limit.", rich_help_panel=_SEARCH)
]
PrunerName = Annotated[
    Pruner,
    typer.Option(
        help="median: end a trial that is behind the median of the others; hyperband; or off.",
        rich_help_panel=_SEARCH,
    ),
]
Spaces = Annotated[
    list[str] | None,
    typer.Option(
        help="NAME=LOW..HIGH, NAME=LOW..HIGH:log or NAME=A,B,C; may be repeated. Default: by task.",
        rich_help_panel=_SEARCH,
    ),
]
