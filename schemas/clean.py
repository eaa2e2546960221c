"""What the cleaning stage writes on `events.clean`: the same event, normalised, with where it came from."""

import msgspec

from schemas.record import Contract, Coordinates, Kind, Moment


class Flags(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What cleaning did to an event: names of the fields concerned."""

    imputed: tuple[str, ...] = ()
    outlier: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()
    repaired: tuple[str, ...] = ()
    late: bool = False
    time_missing: bool = False


class Clean(Contract, frozen=True, kw_only=True):
    """One normalised event, unique by `(source, id)` within the dedupe window.

    `text` is what a text model reads: markup and control characters removed, Unicode NFC, variable parts
    masked. `values` is what a sensor model reads, in the stream's units. `attributes` are further columns
    for analysts, personal data masked. `time` is aware UTC.
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
    flags: Flags = Flags()
