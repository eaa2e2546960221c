"""What `headrace dead show` says of a letter."""

from datetime import UTC, datetime

import pytest

from infra.cli.dead import _facts
from schemas.dead import Dead
from schemas.errors import Reason
from schemas.record import Coordinates


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (Coordinates("events.raw", 2, 41), "events.raw 2:41"),
        (Coordinates("file:///mnt/a%20b/day.jsonl", 2, 41), "line 41 of /mnt/a b/day.jsonl"),
        (Coordinates("s3://bucket/day.gz", 0, 1), "line 1 of s3://bucket/day.gz"),
    ],
)
def test_it_says_where_the_record_lay(raw: Coordinates, said: str):
    """On a topic, or in a file that was backfilled."""
    at = datetime(2026, 3, 1, tzinfo=UTC)
    dead = Dead(reason=Reason.EMPTY, message="", stage="clean", raw=raw, rejected_at=at, original=b"")
    assert _facts(dead)["raw"] == said
