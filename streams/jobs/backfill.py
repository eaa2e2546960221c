"""A range of `events.raw` through the cleaning stage, as a Flink job that ends: same operators, same topics.

For what was passed over, or rejected before a rule was mended: what was cleaned already is known from
`dedupe.log` and dropped. Not beside a running `streams.jobs.clean` on the same partitions, whose memory it
would not share; one that is started afterwards without a savepoint has it from the log. Events away from
home go to `events.rekeyed`, which that one reads.
"""

import re
from collections.abc import Sequence
from typing import Final

from schemas import topics
from schemas.errors import Fatal
from streams.jobs.clean import submit
from streams.jobs.ends import Place
from streams.jobs.options import options, parser

GROUP: Final = "headrace-backfill"
_OFFSETS: Final = re.compile(r"\d+:\d+(,\d+:\d+)*")
_MOMENT: Final = re.compile(r"@\d+")


def main(argv: Sequence[str] | None = None) -> None:
    """Submit the job.

    Raises:
        Fatal: the configuration is wrong, or the range is none.
    """
    made = parser(__doc__ or "", GROUP)
    places = "PARTITION:OFFSET,… or @MILLISECONDS since 1970"
    made.add_argument("--begin", default="earliest", help=f"earliest, or {places}")
    made.add_argument("--end", default="latest", help=f"latest (as of the start), or {places}; exclusive")
    arguments = made.parse_args(argv)
    begin, end = place(arguments.begin, "earliest"), place(arguments.end, "latest")
    submit(options(arguments), GROUP, (topics.RAW,), begin, end)


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
