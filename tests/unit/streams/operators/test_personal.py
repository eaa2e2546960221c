"""Personal data is masked wherever it stands, and nothing else is."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.cleaning import PERSONAL_KINDS, Cleaning
from streams.operators.identifiers import luhn, mask_cards
from streams.operators.mask import masked
from streams.operators.personal import MAX_ATTRIBUTE, PersonalData, Scrub

EVERYTHING = Scrub(PERSONAL_KINDS)
AROUND = st.text(st.characters(codec="ascii", exclude_categories=["L", "N", "Cc"]), max_size=6)
WORDS = st.text(st.sampled_from("ab <>&'\"=%:/?. 12"), max_size=20)


def with_check_digit(digits: str) -> str:
    """Append the digit that makes a number pass Luhn's test."""
    return next(digits + last for last in "0123456789" if luhn(digits + last))


CARDS = st.one_of(
    st.from_regex(r"4[0-9]{14}", fullmatch=True),
    st.from_regex(r"5[1-5][0-9]{13}", fullmatch=True),
    st.from_regex(r"3[47][0-9]{12}", fullmatch=True),
).map(with_check_digit)
EMAILS = st.from_regex(
    r"[a-z0-9][a-z0-9._+-]{0,15}@[a-z0-9][a-z0-9-]{0,10}(\.[a-z]{2,5}){1,2}", fullmatch=True
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mail bob.b+x@example.co.uk now", "mail <email> now"),
        ("jörg@exämple.de", "<email>"),
        ("/u/bob%40example.com", "/u/<email>"),
        ("bob&#64;example.com", "<email>"),
        ("ｂｏｂ＠ｅｘａｍｐｌｅ．ｃｏｍ", "<email>"),
        ("card 4111 1111 1111 1111, ok", "card <card>, ok"),
        ("12 4111-1111-1111-1111 12/27", "12 <card> 12/27"),
        ("order 2024 4111 1111 1111 1111 12/27", "order 2024 <card> 12/27"),
        ("3782 822463 10005", "<card>"),
        ("４１１１１１１１１１１１１１１１", "<card>"),
        ("DE89 3704 0044 0532 0130 00 THANK YOU", "<iban> THANK YOU"),
        ("gb82west12345698765432", "<iban>"),
        ("from 10.1.2.3:8080", "from <ip>:8080"),
        ("[2001:db8::1]:80", "[<ip>]:80"),
        ("+49 30 1234567", "<phone>"),
        ("+1 (555) 123-4567", "<phone>"),
        ("call (555) 123-4567.", "call <phone>."),
        ("020 7946 0958", "<phone>"),
        ("030/1234567", "<phone>"),
        ("01 23 45 67 89", "<phone>"),
    ],
)
def test_identifiers_are_found(text, expected):
    """Each kind in the ways that it is written, percent and character references included."""
    assert EVERYTHING.scrubbed(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_x", "<secret>"),
        ("Authorization: Bearer abc.def-ghi1234567", "Authorization: Bearer <secret>"),
        ("authorization: Basic dXNlcjpwYXNz", "authorization: Basic <secret>"),
        ("id " + "AKIA" + "ABCDEFGHIJKLMNOP", "id <secret>"),
        ("gh" + "p_" + "a1B2" * 9, "<secret>"),
        ("xo" + "xb-123456789012-abcdefg", "<secret>"),
        ("sk_" + "live_" + "4eC39HqLyjWDarjtT1", "<secret>"),
        ("/login?password=hunter2&x=1", "/login?password=<secret>&x=1"),
        ("dbPassword=hunter2", "dbPassword=<secret>"),
        ("X-Api-Key: 12345", "X-Api-Key: <secret>"),
        ('{"password": "correct horse", "a": 1}', '{"password": "<secret>", "a": 1}'),
        ("postgres://bob:s3cret@db:5432/x", "postgres://<secret>@db:5432/x"),
        ("run --password hunter2", "run --password <secret>"),
        ("-----BEGIN RSA PRIVATE KEY----- MIIE -----END RSA PRIVATE KEY----- x", "<secret> x"),
        ("-----BEGIN PRIVATE KEY----- MIIE cut", "<secret>"),
    ],
)
def test_secrets_are_found(text, expected):
    """What is assigned to a telling name, and tokens by their issuer's form."""
    assert EVERYTHING.scrubbed(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",
        "blk_1608999687919862906",
        "2026-03-14 09:26:53,589 INFO",
        "1773480413000000",
        "GET /products/4711?page=2",
        "Chrome/120.0.0.0 Safari/537.36",
        "Chrome/91.0.4472.124",
        "12:34:56",
        "std::string foo::bar",
        "00:1A:2B:3C:4D:5E",
        "01-02-2026",
        "02-03-2026 10:26:53",
        "0123.456789",
        "0012345678901",
        "7c1f0d3e-5b7a-4a52-8d2e-3f6f1f0b9a41",
        "password=' OR 1=1--",
        "invalid token: expected",
        "auth: failed",
        "sorting key: name",
        "passenger=2",
        "COMPASS: north",
        "3.14159265358979",
        "DE12 3456 7890",
        "basic authentication required",
    ],
)
def test_what_is_not_personal_stays(text):
    """Ids, versions, times and attacks that look a little like it are left alone."""
    assert EVERYTHING.scrubbed(text) == text


@given(st.text(max_size=120) | WORDS)
def test_masking_is_idempotent(text):
    """A masked text holds nothing that would be masked again."""
    once = EVERYTHING.scrubbed(text)
    assert EVERYTHING.scrubbed(once) == once


@given(st.text(max_size=30) | WORDS, AROUND, CARDS, AROUND, st.sampled_from(["", " ", "-"]))
def test_a_planted_card_never_survives(text, before, card, after, separator):
    """A card number is found in whatever stands around it, in one piece or in fours."""
    written = separator.join(card[at : at + 4] for at in range(0, 16, 4)) if len(card) == 16 else card
    result = EVERYTHING.scrubbed(f"{text}{before},{written};{after}{text}")
    assert written not in result
    assert card not in result


@given(st.text(max_size=30) | WORDS, EMAILS)
def test_a_planted_address_never_survives(text, email):
    """An e-mail address is found in whatever stands around it."""
    assert email not in EVERYTHING.scrubbed(f"{text} {email} {text}")


@given(CARDS, st.integers(1, 9))
def test_a_wrong_check_digit_is_no_card(card, off):
    """A number that fails Luhn's test stays as it is."""
    wrong = card[:-1] + str((int(card[-1]) + off) % 10)
    assert mask_cards(f"n {wrong} n") == f"n {wrong} n"


@given(EMAILS, CARDS)
def test_the_mask_of_the_text_survives_the_models(email, card):
    """What the model reads still says of which kind a value was."""
    text = masked(EVERYTHING.scrubbed(f"{email} paid 12.50 with {card}"))
    assert text == "<email> paid <num> with <card>"


HOSTILE = [
    "0 " * 15_000,
    "4111 " * 6_000,
    "a@" * 15_000,
    "a@" + "b." * 15_000,
    "x_" * 15_000 + "password=",
    "password=" * 3_000,
    "eyJaaaaaa." * 3_000,
    "DE12 " * 6_000,
    "a:" * 15_000,
    "://a:" * 5_000 + "@",
    '"password": "' * 2_500,
    "%25" * 10_000,
    "(0" * 10_000,
    "-----BEGIN RSA PRIVATE KEY-----" * 1_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=[text[:8] for text in HOSTILE])
def test_hostile_text_takes_no_time(text):
    """No expression goes back and forth: 30 kB made for it take less than half a second."""
    begun = time.process_time()
    EVERYTHING.scrubbed(text)
    assert time.process_time() - begun < 0.5


def test_attributes_go_whole_or_in_part():
    """Named attributes go whole, kinds wherever they stand; the rest stays."""
    attributes = {"client_ip": "203.0.113.9", "path": "/u/bob@example.com", "method": "GET"}
    assert PersonalData(["client_ip", "email"]).mask(attributes) == ("client_ip", "path")
    assert attributes == {"client_ip": "<ip>", "path": "/u/<email>", "method": "GET"}


def test_without_a_name_nothing_is_replaced():
    """An empty list masks nothing; attributes are only cut to their bound."""
    attributes = {"client_ip": "203.0.113.9", "path": "/u/bob@example.com", "user_agent": "x" * 2000}
    personal = PersonalData([])
    assert personal.mask(attributes) == ()
    assert attributes["path"] == "/u/bob@example.com"
    assert len(attributes["user_agent"]) == MAX_ATTRIBUTE
    assert personal.mask_text("bob@example.com") == "bob@example.com"


def test_a_field_may_have_kinds_of_its_own():
    """What is said for a field counts there instead of what is said for all."""
    personal = PersonalData(["email"], {"user_agent": [], "text": ["phone"]})
    attributes = {"user_agent": "bob@example.com", "path": "bob@example.com"}
    assert personal.mask(attributes) == ("path",)
    assert personal.mask_text("bob@example.com +49 30 1234567") == "bob@example.com <phone>"


def test_the_cut_comes_after_the_mask():
    """A long attribute does not end in half of an address."""
    attributes = {"path": "x" * (MAX_ATTRIBUTE - 6) + "/bob@example.com"}
    PersonalData(["email"]).mask(attributes)
    assert "bob" not in attributes["path"]


@pytest.mark.parametrize(
    ("section", "near"),
    [
        ({"mask": ["emial"]}, "email"),
        ({"mask_fields": {"agent": []}}, "user_agent"),
        ({"mask_fields": {"path": ["cards"]}}, "card"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(section, near):
    """A misspelt kind would leave data in clear for ever, so it does not start."""
    with pytest.raises(ValidationError, match=f"did you mean '{near}'"):
        Cleaning.model_validate(section)
