"""A range of `events.raw`, or files, through the cleaning stage, as a Flink job that ends: the same chain.

For what was passed over, or rejected before a rule was mended, and for what lies in an archive, one event as
JSON a line. What was cleaned already is known from `dedupe.log` and dropped. Not beside another engine that
cleans, whose memory it would not share; one that is started afterwards without a savepoint has it from the
log. Events of a range that are away from home go to `events.rekeyed`, which that one reads; those of files
are at home.
"""

import re
from argparse import Namespace
from collections.abc import Sequence
from functools import partial
from typing import Final

from schemas import topics
from schemas.errors import Fatal
from streams.jobs.clean import submit
from streams.jobs.ends import Place, gathered
from streams.jobs.files import at_home
from streams.jobs.options import options, parser

GROUP: Final = "headrace-backfill"
_OFFSETS: Final = re.compile(r"\d+:\d+(,\d+:\d+)*")
_MOMENT: Final = re.compile(r"@\d+")
_WHOLE_NAME: Final = re.compile(r"/|[A-Za-z][A-Za-z0-9+.-]+:/")


def main(argv: Sequence[str] | None = None) -> None:
    """Submit the job.

    Raises:
        Fatal: the configuration is wrong, or the range is none.
    """
    arguments = arguments_of(argv)
    told = options(arguments)
    if arguments.files:
        submit(told, GROUP, partial(at_home, told, arguments.files))
        return
    begin, end = place(arguments.begin, "earliest"), place(arguments.end, "latest")
    read = [told.settings().topic(topics.RAW)]
    submit(told, GROUP, lambda made, keys: gathered(made, told, read, begin, end, keys))


def arguments_of(argv: Sequence[str] | None) -> Namespace:
    """Parse the command line.

    Raises:
        Fatal: it names both files and a range, or a file that workers could not find by its name.
    """
    made = parser(__doc__ or "", GROUP)
    places = "PARTITION:OFFSET,… or @MILLISECONDS since 1970"
    made.add_argument("--begin", default="earliest", help=f"earliest, or {places}")
    made.add_argument("--end", default="latest", help=f"latest (as of the start), or {places}; exclusive")
    made.add_argument(
        "--files",
        nargs="+",
        action="extend",
        default=[],
        metavar="PATH",
        help="files and folders, as absolute paths or URIs that the workers can read, instead of a range",
    )
    arguments = made.parse_args(argv)
    if arguments.files and (arguments.begin, arguments.end) != ("earliest", "latest"):
        raise Fatal("--files and a range: --begin and --end are places on events.raw, files are read whole")
    if strange := [name for name in arguments.files if not _WHOLE_NAME.match(name)]:
        raise Fatal(
            f"--files {strange[0]}: workers need an absolute path, or a URI such as s3://bucket/day.gz"
        )
    return arguments


def place(told: str, named: str) -> Place:
    """Return an end of a range as the command line has it; `named` is the word that is allowed there.

    Raises:
        Fatal: it is written otherwise.

    Example:
        >>> place("0:5,1:7", "latest").offsets
        {0: 5, 1: 7}
    """
    if told == named:
        return Place(named)
    if _MOMENT.fullmatch(told):
        return Place(named, at_ms=int(told[1:]))
    if not _OFFSETS.fullmatch(told):
        raise Fatal(f"{told!r} is no end of a range: write {named}, PARTITION:OFFSET,… or @MILLISECONDS")
    pairs = (pair.split(":") for pair in told.split(","))
    return Place(named, offsets={int(partition): int(offset) for partition, offset in pairs})


if __name__ == "__main__":
    main()
