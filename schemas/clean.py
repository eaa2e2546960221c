"""What the cleaning stage writes on `events.clean`: the same event, normalised, with where it came from."""

from typing import Final

import msgspec

from schemas.record import Contract, Coordinates, Kind, Moment


class Flags(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What cleaning did to an event: names of the fields concerned.

    `near_duplicate_of` is the id of an earlier event of the same source whose text is nearly this one's.
    """

    imputed: tuple[str, ...] = ()
    outlier: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()
    repaired: tuple[str, ...] = ()
    late: bool = False
    time_missing: bool = False
    near_duplicate_of: str = ""


NO_FLAGS: Final = Flags()
"""What an event has to which nothing was done; by its being this one, the encoder leaves it out."""


class Clean(Contract, frozen=True, kw_only=True, omit_defaults=True):
    """One normalised event, unique by `(source, id)` within the dedupe window.

    `text` is what a text model reads: markup and control characters removed, Unicode NFC, variable parts
    masked. `values` is what a sensor model reads, in the stream's units. `attributes` are further columns
    for analysts, personal data masked. `time` is aware UTC. `window` holds the last readings of the source by
    name, this event's last, where the stream asks for a count window. What is empty is not written.
    """

    stream: str
    kind: Kind
    source: str
    id: str
    time: Moment
    raw: Coordinates
    text: str = ""
    values: dict[str, float] = {}
    attributes: dict[str, str] = {}
    flags: Flags = NO_FLAGS
    window: dict[str, tuple[float, ...]] = {}
