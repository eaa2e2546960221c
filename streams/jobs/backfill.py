"""A range of `events.raw` through the cleaning stage, as a Flink job that ends: same operators, same topics.

For what was passed over, or rejected before a rule was mended: what was cleaned already is known from
`dedupe.log` and dropped. Not beside a running `streams.jobs.clean` on the same partitions, whose memory it
would not share; one that is started afterwards without a savepoint has it from the log. Events away from
home go to `events.rekeyed`, which that one reads.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from schemas import topics
from schemas.errors import Fatal
from streams.jobs.clean import submit
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
    submit(options(arguments), scan(arguments.begin, arguments.end), GROUP, (topics.RAW,))


def scan(begin: str, end: str) -> Mapping[str, str]:
    """Return the connector's options for a range, both ends as the command line has them.

    Raises:
        Fatal: an end is written otherwise.

    Example:
        >>> scan("0:5,1:7", "latest")["scan.startup.specific-offsets"]
        'partition:0,offset:5;partition:1,offset:7'
    """
    return {**_end("scan.startup", begin, "earliest"), **_end("scan.bounded", end, "latest")}


def _end(option: str, place: str, named: str) -> dict[str, str]:
    if place == named:
        return {f"{option}.mode": f"{named}-offset"}
    if _MOMENT.fullmatch(place):
        return {f"{option}.mode": "timestamp", f"{option}.timestamp-millis": place[1:]}
    if not _OFFSETS.fullmatch(place):
        raise Fatal(f"{place!r} is no end of a range: write {named}, PARTITION:OFFSET,… or @MILLISECONDS")
    pairs = (pair.split(":") for pair in place.split(","))
    offsets = ";".join(f"partition:{partition},offset:{offset}" for partition, offset in pairs)
    return {f"{option}.mode": "specific-offsets", f"{option}.specific-offsets": offsets}


if __name__ == "__main__":
    main()
