"""The options of `headrace backtest` as typer takes them, and the help that teaches by examples."""

from pathlib import Path
from typing import Annotated, Final

import typer

from infra.backtest.plan import Choice, DetectorName, ModelName

_COLUMNS: Final = "Which columns"
_LABELS: Final = "When labels come"
_DRIFT: Final = "Drift"
_OUT: Final = "What comes out"

_ABOUT: Final = (
    "Replay a recorded, labelled history and show what drift handling would have done.\n\n"
    "Rows are taken in the order of their time. Each is judged before its label is known, and labels come "
    "when you say. An alarm brings a challenger, which replaces the model where a paired test says that it "
    "is better. Beside it run no change, a frozen model and one that is always retrained. No broker and no "
    "headrace.toml are needed."
)

_EXAMPLES: Final = """
\b
A table whose last column is the truth, with a page to look at:
  headrace backtest history.csv --report page.html
Labels that come five minutes late, for a fifth of the rows:
  headrace backtest history.parquet --time at --label-delay 5m --label-rate 0.2
Train on the first 445 rows of several files, then go on:
  headrace backtest a.dat b.dat --no-header --label 0 --train-rows 445
Requests or log lines, where a text says it:
  headrace backtest requests.jsonl --text payload --label attack
A detector against drifts that are known:
  headrace backtest sine.arff --model hoeffding-tree --reset-on-alarm \\
    --drifts 20000,40000
All that headrace.toml says of a stream, in fast-forward:
  headrace backtest history.csv --stream requests --label attack
The error bits of a model of your own:
  headrace backtest errors.csv --model none --errors wrong --detector adwin
Where the numbers themselves change, whatever is made of them:
  headrace backtest readings.csv --model none --detector mmd
"""

HELP: Final = f"{_ABOUT}\n{_EXAMPLES}"

Files = Annotated[
    list[Path],
    typer.Argument(help="CSV, Parquet, JSON lines or ARFF; several are read in order.", metavar="FILE..."),
]
Model = Annotated[
    ModelName,
    typer.Option(
        help="What learns. auto: a pool for tables, text where a column is text; mlp: the trainers' network,"
        " trained anew as labels come; none: error bits, or numbers, alone."
    ),
]
StreamName = Annotated[
    str,
    typer.Option(
        "--stream",
        help="Send the rows through this stream of headrace.toml: its cleaning, drift, model, trainer, gate.",
    ),
]
Baselines = Annotated[
    bool, typer.Option("--baselines/--no-baselines", help="Whether to run frozen and always-retrain too.")
]
TrainingTime = Annotated[
    str,
    typer.Option(
        help="With --stream: the event time that a training takes (30s), while the model before it answers;"
        " default: as long as it takes here, and none where the rows have no times."
    ),
]
Seed = Annotated[int, typer.Option(help="Of everything that is drawn at random.")]

Label = Annotated[
    str,
    typer.Option(
        help="The truth's column, by name or number from 0; default: the last.", rich_help_panel=_COLUMNS
    ),
]
Time = Annotated[
    str, typer.Option(help="The column of event time; default: file order.", rich_help_panel=_COLUMNS)
]
Text = Annotated[
    str, typer.Option(help="Columns that are text, with commas; default: look.", rich_help_panel=_COLUMNS)
]
Errors = Annotated[
    str, typer.Option(help="A column of error bits, for --model none.", rich_help_panel=_COLUMNS)
]
Drop = Annotated[
    str, typer.Option(help="Columns that nobody may read, with commas.", rich_help_panel=_COLUMNS)
]
Header = Annotated[
    bool | None,
    typer.Option(
        "--header/--no-header",
        help="Whether the first row has names; default: look.",
        rich_help_panel=_COLUMNS,
    ),
]

TrainRows = Annotated[
    int,
    typer.Option(
        min=0, help="First rows to train on, all labelled, before judging.", rich_help_panel=_LABELS
    ),
]
LabelDelay = Annotated[
    str, typer.Option(help="So many rows later (500), or so much event time (5m).", rich_help_panel=_LABELS)
]
LabelRate = Annotated[
    float,
    typer.Option(
        min=0.0, max=1.0, help="Share of the judged rows that are ever labelled.", rich_help_panel=_LABELS
    ),
]
LabelChoice = Annotated[
    Choice,
    typer.Option(
        help="Which ones: those whose answer is least sure, and a quarter at random; or all at random.",
        rich_help_panel=_LABELS,
    ),
]

Detector = Annotated[
    DetectorName | None,
    typer.Option(
        help="What watches the errors, or (mmd) the numbers; default: ensemble, or the stream's.",
        rich_help_panel=_DRIFT,
    ),
]
ResetOnAlarm = Annotated[
    bool,
    typer.Option(
        "--reset-on-alarm", help="A new learner at each alarm, and nothing else.", rich_help_panel=_DRIFT
    ),
]
Drifts = Annotated[
    str, typer.Option(help="True drift points: rows from 0 with commas, or a file.", rich_help_panel=_DRIFT)
]
Tolerance = Annotated[
    int, typer.Option(min=1, help="Rows within which an alarm has found a drift.", rich_help_panel=_DRIFT)
]

Json = Annotated[
    str,
    typer.Option("--json", help="Write the figures as JSON; - for standard output.", rich_help_panel=_OUT),
]
Report = Annotated[Path | None, typer.Option(help="Write a page with plots here.", rich_help_panel=_OUT)]
