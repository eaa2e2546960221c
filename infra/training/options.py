"""The options of `headrace train` as typer takes them, and the help that teaches by examples."""

from pathlib import Path
from typing import Annotated, Final

import typer

from trainers.recipe import Mode
from trainers.tasks.kinds import SENSORS, Kind

_DATA: Final = "What is learnt from"
_TUNING: Final = "How it is tuned"
_SENSORS: Final = "Readings and clusters"
_OUT: Final = "What comes out"

_LONG: Final = 30
_SHORT: Final = 3

_ABOUT: Final = (
    "Tune a model on a file: fine-tune, measure on rows it never saw, and write an ONNX graph that was "
    "compared with the tuned network.\n\n"
    "Modes: head tunes a head over vectors that are computed once (seconds); top-k also the last layers; "
    "lora small adapters in every layer; full all weights. Start with head. Where it falls short, lora or "
    "full cost minutes on a CPU.\n\n"
    "Ctrl-C and kill -9 cost nothing but the time since the last checkpoint: the same command with --resume "
    "goes on and ends with the same weights."
)

_EXAMPLES: Final = """
\b
Classes of texts; columns `text` and `label`, or say which:
  headrace train intents.csv --task classification --out intents
  headrace train tickets.jsonl --task classification --mode lora \\
    --column text=body --column label=team --out tickets
Entities; `words` and `tags` are lists, or words between spaces:
  headrace train ner.jsonl --task tokens --base ./bert --mode full --out ner
Answers in a text; `question`, `context`, `answer` (and `start`):
  headrace train squad.parquet --task qa --base ./distilbert --mode full --out qa
A language model that knows your texts, by perplexity before and after:
  headrace train logs.jsonl --task mlm --base ./roberta --mode lora --out logs-lm
  headrace train notes.csv --task clm --base ./gpt2 --mode lora --out notes-lm
Groups of texts that nobody labelled:
  headrace train tickets.csv --task clustering --clusters 20 --out groups
Readings: classes, a number, the next value, or what is odd:
  headrace train machine.csv --task sensor-classification --out state
  headrace train load.csv --task forecast --column target=load --window 24 --out load
  headrace train machine.csv --task anomaly --out odd
Into a stream, as a release that `headrace models promote` takes:
  headrace train clean.jsonl --task classification --out m --stream requests
"""

HELP: Final = f"{_ABOUT}\n{_EXAMPLES}"

Data = Annotated[
    Path, typer.Argument(help="CSV, JSON lines, Parquet or ARFF, one example a row.", metavar="DATA")
]
Task = Annotated[Kind, typer.Option(help="What is learnt.")]
Base = Annotated[
    str,
    typer.Option(
        help="The pretrained model: minilm, a folder, an installed package that carries one, or a hub id"
        " (HF_ENDPOINT names the hub)."
    ),
]
ModeName = Annotated[Mode, typer.Option(help="Which weights are tuned.")]
Out = Annotated[Path, typer.Option(help="The folder to write to; it must be new, or --resume be given.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in the folder.")]

Test = Annotated[
    Path | None,
    typer.Option(help="Rows to test with, in a file of their own; default: a tenth.", rich_help_panel=_DATA),
]
Column = Annotated[
    list[str] | None,
    typer.Option(
        help="ROLE=NAME: the text, label, words, tags, question, context, answer, start or target column.",
        rich_help_panel=_DATA,
    ),
]
Features = Annotated[
    str, typer.Option(help="Columns of readings, with commas; default: all others.", rich_help_panel=_DATA)
]
SkipBad = Annotated[
    bool,
    typer.Option("--skip-bad", help="Leave out rows that cannot be learnt from.", rich_help_panel=_DATA),
]

Epochs = Annotated[
    int, typer.Option(min=0, help="At most; 0: 30 for heads and readings, else 3.", rich_help_panel=_TUNING)
]
Batch = Annotated[int, typer.Option(min=1, help="Rows at once.", rich_help_panel=_TUNING)]
Accumulate = Annotated[
    int,
    typer.Option(
        min=1, help="Batches that make one step: large ones in little memory.", rich_help_panel=_TUNING
    ),
]
Rate = Annotated[
    float,
    typer.Option(min=0.0, help="Of the pretrained weights; 0: the mode's own.", rich_help_panel=_TUNING),
]
HeadRate = Annotated[float, typer.Option(min=0.0, help="Of the head.", rich_help_panel=_TUNING)]
TopLayers = Annotated[int, typer.Option(min=1, help="The k of top-k.", rich_help_panel=_TUNING)]
Rank = Annotated[int, typer.Option(min=1, help="Of the adapters of lora.", rich_help_panel=_TUNING)]
Patience = Annotated[
    int, typer.Option(min=1, help="Epochs without a better one before it stops.", rich_help_panel=_TUNING)
]
Validation = Annotated[
    float,
    typer.Option(min=0.0, max=0.5, help="Share of rows that choose the best epoch.", rich_help_panel=_TUNING),
]
MaxTokens = Annotated[int, typer.Option(min=8, help="Longer texts are cut.", rich_help_panel=_TUNING)]
Checkpointing = Annotated[
    bool,
    typer.Option(
        "--gradient-checkpointing",
        help="Compute activations twice: less memory, a third more time.",
        rich_help_panel=_TUNING,
    ),
]
CheckpointEvery = Annotated[
    float,
    typer.Option(min=0.0, help="Seconds between checkpoints; 0: after each step.", rich_help_panel=_TUNING),
]
Threads = Annotated[
    int, typer.Option(min=0, help="Processor threads; 0: as many as there are.", rich_help_panel=_TUNING)
]
Seed = Annotated[int, typer.Option(help="Of everything that is drawn at random.", rich_help_panel=_TUNING)]

Clusters = Annotated[
    int, typer.Option(min=2, help="How many groups clustering makes.", rich_help_panel=_SENSORS)
]
Window = Annotated[
    int, typer.Option(min=1, help="Rows that a forecast looks back on.", rich_help_panel=_SENSORS)
]
Horizon = Annotated[int, typer.Option(min=1, help="Rows that it looks ahead.", rich_help_panel=_SENSORS)]

StreamName = Annotated[
    str,
    typer.Option(
        "--stream", help="Also write a release for this stream into the data folder.", rich_help_panel=_OUT
    ),
]
Json = Annotated[
    str,
    typer.Option("--json", help="Write the report as JSON; - for standard output.", rich_help_panel=_OUT),
]


def usual_epochs(task: Kind, mode: Mode) -> int:
    """Return how many epochs a training has where nobody says: heads and readings are quick."""
    quick = task in SENSORS or (mode is Mode.HEAD and task is Kind.CLASSIFICATION)
    return _LONG if quick else _SHORT
