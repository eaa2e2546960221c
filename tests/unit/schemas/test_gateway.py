"""The `[gateway]` section: what is refused before anything starts."""

import pytest
from pydantic import ValidationError

from schemas.gateway import GatewaySection, is_loopback


def test_the_default_is_a_laptops() -> None:
    """Loopback, open until there is a key, no rate limit, no CORS."""
    section = GatewaySection()
    assert section.loopback and section.auth == "auto"
    assert (section.limits.requests_per_s, section.cors.origins, section.jwt.algorithms) == (0, (), ())


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True), ("0.0.0.0", False),
     ("::", False), ("10.0.0.1", False), ("localhost.example.org", False), ("", False), (None, False)],
)  # fmt: skip
def test_loopback_is_this_machine_alone(host: str, own: bool) -> None:
    """Everything else can be reached by others, an empty host included."""
    assert is_loopback(host) is own


@pytest.mark.parametrize(
    ("section", "why"),
    [
        ({"host": "0.0.0.0", "auth": "off"}, "everybody could come in"),
        ({"jwt": {"algorithms": ["none"]}}, "algorithms"),
        ({"jwt": {"algorithms": ["HS256", "ES256"], "jwks": "k.json"}}, "together"),
        ({"jwt": {"algorithms": ["RS256"]}}, "needs `jwks`"),
        ({"jwt": {"jwks": "k.json"}}, "needs `algorithms`"),
        ({"jwt": {"algorithms": ["RS256"], "jwks": "http://login.example.org/k"}}, "https"),
        ({"jwt": {"leeway": "10m"}}, "leeway"),
        ({"limits": {"max_events": 0}}, "max_events"),
        ({"breaker": {"failures": 0}}, "failures"),
        ({"auth": "none"}, "auth"),
    ],
)
def test_what_would_let_strangers_in_is_refused(section: dict[str, object], why: str) -> None:
    """Each with a message that names the key."""
    with pytest.raises(ValidationError, match=why):
        GatewaySection.model_validate(section)
