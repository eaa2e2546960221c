"""The sections of `headrace.toml` on how a stream is cleaned, and what of it is a copy."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final, Literal

from pydantic import Field, field_validator

from schemas.section import Duration, Section

PERSONAL_KINDS: Final = ("email", "phone", "card", "ip", "iban", "secret")
"""What can be found and masked inside any text; `secret` is passwords, keys and tokens."""

ATTRIBUTES: Final = ("method", "path", "status", "client_ip", "user_agent", "level", "logger", "host")
"""The attributes that clean events carry."""


class Dedupe(Section):
    """Exact duplicates, by `(source, id)`, within `window` of first sight (seconds; up to 30 days).

    `rekey` brings copies together that were published to different partitions: `auto` forwards an event
    that did not come to its source's partition, `always` spreads a stream by source and id (the order within
    a source is given up), `never` finds duplicates only within a partition.

    `content` also drops what repeats source, time and payload under another id. `near` above 0 finds texts
    that are at least so alike to one of the same source (0.8: a word of sixty characters changed): its event
    is flagged or dropped. Remembered are the last `near_texts` of a stream in a partition, for `near_window`.
    """

    window: Duration = Field(default=7 * 86400.0, le=30 * 86400.0)
    rekey: Literal["auto", "always", "never"] = "auto"
    content: bool = False
    near: float = Field(default=0.0, ge=0, le=1)
    near_action: Literal["flag", "drop"] = "flag"
    near_window: Duration = Field(default=3600.0, le=30 * 86400.0)
    near_texts: int = Field(default=16_384, ge=16, le=1_048_576)


class Cleaning(Section):
    """How an event is normalised.

    `utf8` repairs bytes that are no UTF-8 to U+FFFD. `html` strips markup from text; it is kept by default,
    since in requests and logs it is what an attack looks like. `text` is the Unicode form.

    `mask` names kinds of personal data (`PERSONAL_KINDS`), found wherever they stand in a text or attribute,
    and attributes that are personal as a whole; all are replaced before anything is stored, for good.
    `mask_fields` says for one field (an attribute, or `text`) which kinds are looked for there instead.

    `missing`: what becomes of a reading that is null or not a number. `decimal` is the decimal sign in
    numeric strings. `ranges` bound a reading, `units` are the stream's own; a reading out of its range is
    rejected, clipped to it, or dropped, which makes it a missing one. `outliers` is done to readings that
    the `outlier_method` finds further than `outlier_sigmas` deviations from what their source sent lately.

    An event older than `max_age` is rejected, accepted or given its arrival's time; so is one further than
    `max_future` ahead (never accepted: it would end every open window) and one without a time.
    `window` above 0 gives each clean event the last so many readings of its source, by name.
    """

    utf8: Literal["reject", "repair"] = "reject"
    html: Literal["keep", "strip"] = "keep"
    text: Literal["nfc", "nfkc", "keep"] = "nfc"
    mask: tuple[str, ...] = ("client_ip", "email", "card", "iban", "secret")
    mask_fields: dict[str, tuple[str, ...]] = {}
    missing: Literal["drop", "constant", "last", "mean", "median"] = "last"
    constant: float = 0.0
    decimal: Literal[".", ","] = "."
    units: dict[str, str] = {}
    ranges: dict[str, tuple[float, float]] = {}
    out_of_range: Literal["reject", "clip", "drop"] = "reject"
    outliers: Literal["flag", "clip", "reject", "off"] = "flag"
    outlier_method: Literal["hampel", "iqr", "z"] = "hampel"
    outlier_sigmas: float = Field(default=6.0, gt=0)
    max_bytes: int = Field(default=256 * 1024, gt=0)
    max_age: Duration = 10 * 365 * 86400.0
    too_old: Literal["reject", "accept", "arrival"] = "reject"
    max_future: Duration = 3600.0
    in_future: Literal["reject", "arrival"] = "reject"
    late_after: Duration = 3600.0
    missing_time: Literal["arrival", "reject"] = "arrival"
    window: int = Field(default=0, ge=0, le=4096)

    @field_validator("mask")
    @classmethod
    def _mask_is_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            _one_of(name, (*PERSONAL_KINDS, *ATTRIBUTES), "neither a kind of personal data nor an attribute")
        return names

    @field_validator("mask_fields")
    @classmethod
    def _mask_fields_are_known(cls, fields: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name, kinds in fields.items():
            _one_of(name, (*ATTRIBUTES, "text"), "no field that is masked")
            for kind in kinds:
                _one_of(kind, PERSONAL_KINDS, "no kind of personal data")
        return fields

    @field_validator("ranges")
    @classmethod
    def _ranges_hold_something(cls, ranges: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for name, (low, high) in ranges.items():
            if not low <= high:
                raise ValueError(f"the range of {name!r} is empty: {low:g} to {high:g}")
        return ranges


def _one_of(name: str, known: Sequence[str], what: str) -> None:
    """Raise for a name that is not known, with the nearest that is."""
    if name not in known:
        near = get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise ValueError(f"{name!r} is {what}; did you mean {near!r}? There are: {', '.join(known)}")
