"""Finds what identifies a person in text: consumes text, produces it with that replaced by its kind.

E-mail addresses read `<email>`, card numbers `<card>`, bank accounts `<iban>`, internet addresses `<ip>` and
telephone numbers `<phone>`. Numbers count only with their check digits or their usual grouping: an order
number stays. Every function is idempotent, and takes time linear in the text.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import Final

EMAIL: Final = re.compile(r"(?<![\w.+-])[\w.+-]++@[\w-]{1,63}(?:\.[\w-]{1,63})+")

# A card number: 13 to 19 digits in one, or in the groups that are printed on cards.
_CARD: Final = re.compile(
    r"(?<![0-9A-Za-z])"
    r"(?:\d{13,19}|\d{4}([ .-])(?:\d{4}\1\d{4}\1\d{4}(?:\1(\d{1,3}))?|\d{6}\1\d{4,5}))(?![0-9A-Za-z])",
    re.ASCII,
)
_ISSUERS: Final = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d{2}|222[1-9]|22[3-9]\d|2[3-6]\d{2}|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|3(?:0[0-5]|[689]\d)\d{11}|36\d{12,17}"  # Diners Club
    r"|(?:6011|64[4-9]\d|65\d{2})\d{12,15}"  # Discover
    r"|35(?:2[89]|[3-8]\d)\d{12,15}"  # JCB
    r"|62\d{14,17}"  # UnionPay
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])\d{8,15}",  # Maestro
    re.ASCII,
)

_IBAN_START: Final = re.compile(r"(?<![0-9A-Za-z])[A-Za-z]{2}(?=\d\d[ -]?[0-9A-Za-z]{2})", re.ASCII)
_IBAN_LENGTHS: Final = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FO GL NL",
        19: "MK SI",
        20: "AT BA EE KZ LT LU XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}
_IBANS: Final = {
    length: re.compile(rf"[A-Za-z]{{2}}\d\d(?:[ -]?[0-9A-Za-z]){{{length - 4}}}(?![0-9A-Za-z])", re.ASCII)
    for length in set(_IBAN_LENGTHS.values())
}
_LETTERS: Final = str.maketrans({chr(ord("A") + at): str(10 + at) for at in range(26)} | {" ": "", "-": ""})

_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_IPV4: Final = re.compile(rf"(?<![\d.]){_OCTET}(?:\.{_OCTET}){{3}}(?!\.?\d)", re.ASCII)
_IPV6: Final = re.compile(
    r"(?<![0-9A-Za-z:.])(?=[0-9A-Fa-f:]*\d)[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}"
    r"(?:(?<=:)\d{1,3}(?:\.\d{1,3}){3}|(?:\.\d{1,3}){3})?(?![0-9A-Za-z:])",
    re.ASCII,
)

_PHONE: Final = re.compile(
    # +49 30 1234567, +1 (555) 123-4567, 0049 30 1234567
    r"(?:(?<![\w+.])(?:\+\(?[1-9]|00[1-9]\d{0,2}(?=[ ./(-]))(?:[ ./-]?[ ]?[(]?\d[)]?){6,14}"
    # (555) 123-4567, 555-123-4567, 1-800-555-0199
    r"|(?<![\w.+/:-])(?:1[ .-])?(?:\([2-9]\d\d\) ?|[2-9]\d\d([ .-]))\d{3}(?(1)\1|[ .-])\d{4}"
    # (030) 123 45 67, 0171-1234567, 020 7946 0958, 01 23 45 67 89
    r"|(?<![\w.+/:-])\(?0[1-9]\d{0,4}\)?[ /.-]{1,2}\d{2,8}(?:([ .-])\d{2,8}(?:\2\d{2,8}){0,4})?"
    r")(?!\w)(?![.:/-]\d)",
    re.ASCII,
)

# A text's outline: digits read 0 and letters z. Looking for a few bytes in it costs a tenth of an expression
# that finds nothing, and most texts hold no such number.
_OUTLINE: Final = bytes(
    ord("0") if chr(at).isdigit() else ord("z") if chr(at).isalpha() else at for at in range(128)
) + bytes(128)


def outline(text: str) -> bytes:
    """Return the text's outline, for `MAY_HOLD`."""
    return text.encode("utf-8", "replace").translate(_OUTLINE)


def _may_hold_card(outlined: bytes) -> bool:
    return (
        b"0000000000000" in outlined
        or b"0000 0000" in outlined
        or b"0000-0000" in outlined
        or b"0000.0000" in outlined
    )


MAY_HOLD: Final[dict[str, Callable[[bytes], bool]]] = {
    "iban": lambda outlined: b"zz00" in outlined and outlined.count(b"0") >= 7,  # Malta's may have so few
    "card": _may_hold_card,
    "ip": lambda outlined: outlined.count(b".") >= 3 or outlined.count(b":") >= 2,
    "phone": lambda outlined: outlined.count(b"0") >= 8,
}
"""Kinds of numbers: whether a text with this outline may hold one."""


def mask_emails(text: str) -> str:
    """Replace e-mail addresses."""
    return EMAIL.sub("<email>", text) if "@" in text else text


def mask_cards(text: str) -> str:
    """Replace card numbers: an issuer's prefix and length, and a right check digit (Luhn, ISO/IEC 7812-1)."""
    parts: list[str] = []
    done, found = 0, _CARD.search(text)
    while found is not None:
        end = _card_end(found)
        if end:
            parts += (text[done : found.start()], "<card>")
            done = end
        found = _CARD.search(text, end or found.start() + 1)  # it may begin at the next group
    return "".join((*parts, text[done:])) if parts else text


def mask_ibans(text: str) -> str:
    """Replace international bank account numbers (ISO 13616): the country's length, and remainder 1 of 97."""
    parts: list[str] = []
    done = 0
    for start in _IBAN_START.finditer(text):
        length = _IBAN_LENGTHS.get(start[0].upper())
        if length is None or start.start() < done:
            continue
        found = _IBANS[length].match(text, start.start())
        if found is not None:
            plain = found[0].upper().translate({ord(" "): None, ord("-"): None})
            if int((plain[4:] + plain[:4]).translate(_LETTERS)) % 97 == 1:
                parts += (text[done : found.start()], "<iban>")
                done = found.end()
    return "".join((*parts, text[done:])) if parts else text


def mask_ips(text: str) -> str:
    """Replace internet addresses of versions 4 and 6; a version such as `120.0.0.0` is no address."""
    if text.count(".") >= 3:
        text = _IPV4.sub(lambda found: found[0] if found[0].endswith(".0.0.0") else "<ip>", text)
    return _IPV6.sub(_ipv6, text) if text.count(":") >= 2 else text


def mask_phones(text: str) -> str:
    """Replace telephone numbers: international, North American, and national ones that begin with 0.

    A national number needs its usual separators, or every number would be one.
    """
    return _PHONE.sub(_phone, text)


def luhn(digits: str) -> bool:
    """Tell whether the last of the digits is the right check digit for the others.

    >>> luhn("79927398713"), luhn("79927398710")
    (True, False)
    """
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = ord(digit) - 48
        total += value if place % 2 == 0 else (2 * value - 9 if value > 4 else 2 * value)
    return total % 10 == 0


def _card_end(found: re.Match[str]) -> int:
    """Return where the card number ends, 0 if it is none; what follows a space may be another number."""
    ends = (found.end(), found.start(2) - 1) if found[2] else (found.end(),)
    for end in ends:
        digits = found.string[found.start() : end]
        if found[1]:
            digits = digits.replace(found[1], "")
        if _ISSUERS.fullmatch(digits) and luhn(digits):
            return end
    return 0


def _ipv6(found: re.Match[str]) -> str:
    try:
        ipaddress.IPv6Address(found[0])
    except ValueError:
        return found[0]
    return "<ip>"


def _phone(found: re.Match[str]) -> str:
    text = found[0]
    digits = sum(sign.isdigit() for sign in text)
    if text.lstrip("(").startswith(("+", "00")):
        return "<phone>" if 8 <= digits <= 16 else text
    if text.lstrip("(").startswith("0"):
        decimal = text.count(".") == 1 and digits == len(text) - 1  # 0123.456789
        return "<phone>" if 9 <= digits <= 12 and not decimal else text
    return "<phone>"
