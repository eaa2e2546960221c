"""Masks personal data, for good: consumes a text or attributes, produces them as they may be stored.

What is looked for is decided once, per field, by the stream's configuration. Nothing can be undone: a mask
says of which kind a value was and nothing else.
"""

import re
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from html import unescape
from typing import Final

from schemas.cleaning import PERSONAL_KINDS
from streams.operators import identifiers
from streams.operators.credentials import mask_secrets
from streams.operators.text import percent_decoded

MAX_ATTRIBUTE: Final = 1024
_SHORTEST: Final = 5  # nothing personal is shorter: `a@b.c`, `pwd=x`
_REMEMBERED: Final = 8192
_REMEMBERED_LENGTH: Final = 512
_WHOLE: Final = {"client_ip": "<ip>"}
_REFERENCE: Final = re.compile(r"&(?:#|commat|period|plus|colon|equals)")
# In this order: a key may contain an e-mail address, an account number what looks like a telephone's.
_WORDS: Final[dict[str, Callable[[str], str]]] = {"secret": mask_secrets, "email": identifiers.mask_emails}
_NUMBERS: Final[dict[str, Callable[[str], str]]] = {
    "iban": identifiers.mask_ibans,
    "card": identifiers.mask_cards,
    "ip": identifiers.mask_ips,
    "phone": identifiers.mask_phones,
}


class Scrub:
    """Replaces some kinds of personal data in any text; remembers short texts that came lately."""

    def __init__(self, kinds: Iterable[str]) -> None:
        wanted = set(kinds)
        self._words = tuple(find for kind, find in _WORDS.items() if kind in wanted)
        self._numbers = tuple(
            (identifiers.MAY_HOLD[kind], find) for kind, find in _NUMBERS.items() if kind in wanted
        )
        self._known: OrderedDict[str, str] = OrderedDict()

    def remembered(self, text: str) -> str:
        """Return `scrubbed(text)`, from memory where it can be."""
        known = self._known.get(text)
        if known is None:
            known = self.scrubbed(text)
            if len(text) <= _REMEMBERED_LENGTH:
                self._known[text] = known
                if len(self._known) > _REMEMBERED:
                    self._known.popitem(last=False)
        return known

    def scrubbed(self, text: str) -> str:
        """Return the text with its personal data masked; itself, where there is none. Idempotent.

        What is written with percent or character references, or in full-width signs, is found as well; the
        text is then returned as read.
        """
        text = self._masked(text)
        if "%" not in text and "&" not in text and text.isascii():
            return text
        for plain in _readings(text):
            masked = self._masked(plain)
            if masked != plain:
                return self.scrubbed(masked)
        return text

    def _masked(self, text: str) -> str:
        for find in self._words:
            text = find(text)
        if self._numbers:
            outlined = identifiers.outline(text)
            if b"0" in outlined:
                for may_hold, find in self._numbers:
                    if may_hold(outlined):
                        text = find(text)
        return text


def _readings(text: str) -> Iterable[str]:
    """Yield the other ways in which a text can be read, as far as they differ from it."""
    if "%" in text:
        decoded = percent_decoded(text)
        if decoded != text:
            yield decoded
    if "&" in text and _REFERENCE.search(text):
        yield unescape(text)
    if not text.isascii() and not unicodedata.is_normalized("NFKC", text):
        yield unicodedata.normalize("NFKC", text)


class PersonalData:
    """What one stream masks: attributes as a whole, and kinds of personal data inside texts.

    `mask` names both; `fields` says for single fields (an attribute, or `text`) which kinds are looked for
    there instead.
    """

    def __init__(self, mask: Iterable[str], fields: Mapping[str, Iterable[str]] | None = None) -> None:
        names = set(mask)
        kinds = frozenset(names.intersection(PERSONAL_KINDS))
        self._whole = {name: _WHOLE.get(name, f"<{name}>") for name in names - kinds}
        scrubs: dict[frozenset[str], Scrub | None] = {frozenset(): None}
        for wanted in (kinds, *map(frozenset, (fields or {}).values())):
            scrubs.setdefault(wanted, Scrub(wanted))
        self._everywhere = scrubs[kinds]
        self._fields = {name: scrubs[frozenset(wanted)] for name, wanted in (fields or {}).items()}
        self._text = self._fields.get("text", self._everywhere)
        self._text_tells = self._text is not None and self._text is self._fields.get("path", self._everywhere)

    def tells(self, path: str) -> bool:
        """Tell whether a text that contains this path, and in which nothing was found, answers for it."""
        return self._text_tells and "%" not in path and len(path) <= MAX_ATTRIBUTE and path.isascii()

    def mask(self, attributes: dict[str, str], known: str = "") -> tuple[str, ...]:
        """Mask in place, cut to `MAX_ATTRIBUTE` and return the names of the attributes that were masked.

        `known` names one in which there is nothing to mask.
        """
        hit: list[str] = []
        whole, fields, everywhere = self._whole, self._fields, self._everywhere
        for name, value in attributes.items():
            if name in whole:
                attributes[name] = whole[name]
                hit.append(name)
                continue
            scrub = fields.get(name, everywhere) if fields else everywhere
            if scrub is not None and len(value) >= _SHORTEST and name != known:
                masked = scrub.remembered(value)
                if masked is not value and masked != value:
                    attributes[name] = masked
                    hit.append(name)
            if len(attributes[name]) > MAX_ATTRIBUTE:
                attributes[name] = attributes[name][:MAX_ATTRIBUTE]
        return tuple(hit)

    def mask_text(self, text: str) -> str:
        """Return the text for the model as it may be stored; itself, where nothing in it is personal."""
        return text if self._text is None else self._text.scrubbed(text)
