"""JSON Web Tokens: what is believed, and every way not to be."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from infra.runtime.clock import ManualClock
from schemas.errors import Fatal
from schemas.gateway import Jwt
from serving.gateway.identity import Identity
from serving.gateway.jwks import KeySet
from serving.gateway.problems import Refused
from serving.gateway.scopes import Scope
from serving.gateway.tokens import Tokens

SECRET = b"a secret of at least thirty-two bytes"
RSA = rsa.generate_private_key(65537, 2048)
OTHER = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def claims(**changed: Any) -> dict[str, Any]:
    """Return claims that are believed."""
    now = datetime.now(UTC)
    return {"sub": "shop", "exp": now + timedelta(minutes=5), "scope": "publish read other", **changed}


def public(key: Any, kid: str, algorithm: str) -> dict[str, Any]:
    """Return a key's entry in a key set."""
    made: dict[str, Callable[..., Any]] = {
        "RS256": jwt.algorithms.RSAAlgorithm.to_jwk,
        "ES256": jwt.algorithms.ECAlgorithm.to_jwk,
        "EdDSA": jwt.algorithms.OKPAlgorithm.to_jwk,
    }
    return {**made[algorithm](key.public_key(), as_dict=True), "kid": kid, "alg": algorithm, "use": "sig"}


def write(path: Path, *entries: dict[str, Any]) -> None:
    """Write a key set."""
    path.write_text(json.dumps({"keys": entries}))


def shared(**config: Any) -> Tokens:
    """Return a checker of HS256."""
    return Tokens(Jwt(algorithms=("HS256",), **config), ManualClock(datetime.now(UTC)), secret=SECRET)


async def by_keys(path: Path, *algorithms: Any) -> tuple[Tokens, KeySet]:
    """Return a checker of public keys."""
    keys = KeySet(str(path))
    await keys.start()
    config = Jwt(algorithms=algorithms, jwks=str(path))
    return Tokens(config, ManualClock(datetime.now(UTC)), keys=keys), keys


async def refused(tokens: Tokens, token: str) -> str:
    """Return why a token is refused."""
    with pytest.raises(Refused) as caught:
        await tokens.identity(token)
    assert caught.value.status == 401
    assert 'error="invalid_token"' in caught.value.headers["www-authenticate"]
    return caught.value.detail


def unsigned(header: dict[str, Any], payload: dict[str, Any]) -> str:
    """Build a token by hand, without a signature."""
    parts = (header, {**payload, "exp": int(payload["exp"].timestamp())})
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join((*texts, ""))


async def test_a_signed_token_names_its_caller():
    """The subject and the scopes that are ours; also from a list, and from another claim."""
    token = jwt.encode(claims(), SECRET, "HS256")
    assert await shared().identity(token) == Identity("jwt", "shop", frozenset({Scope.PUBLISH, Scope.READ}))
    listed = jwt.encode(claims(roles=["admin", 7, "x"]), SECRET, "HS256")
    assert (await shared(scope_claim="roles").identity(listed)).scopes == {Scope.ADMIN}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"exp": timedelta(minutes=-1)}, "expired"),
        ({"exp": None}, "no exp"),
        ({"sub": None}, "no sub"),
        ({"sub": "x" * 300}, "too long"),
        ({"sub": 7}, "believed"),
        ({"nbf": timedelta(minutes=5)}, "not valid yet"),
        ({"aud": "other"}, "another audience"),
        ({"iss": "other"}, "another issuer"),
        ({"iss": None}, "no iss"),
        ({"aud": None}, "no aud"),
    ],
)
async def test_a_token_of_wrong_claims_is_refused(changed: dict[str, Any], why: str):
    """Expired, early, without an end or a subject, for or by somebody else.

    Times are told from now on: tests are collected long before they run.
    """
    now = datetime.now(UTC)
    moved = {name: now + value if isinstance(value, timedelta) else value for name, value in changed.items()}
    given = {**claims(aud="headrace", iss="login"), **moved}
    token = jwt.encode({name: value for name, value in given.items() if value is not None}, SECRET, "HS256")
    assert why in await refused(shared(audience="headrace", issuer="login"), token)


async def test_a_token_for_somebody_is_not_for_anybody():
    """Where no audience is configured, a token that names one is refused (RFC 7519, 4.1.3)."""
    assert "audience" in await refused(shared(), jwt.encode(claims(aud="other"), SECRET, "HS256"))


async def test_a_tampered_token_is_refused():
    """Any changed part breaks the signature; so does another secret, and none at all."""
    header, payload, signature = jwt.encode(claims(), SECRET, "HS256").split(".")
    more = base64.urlsafe_b64encode(json.dumps({"sub": "root", "exp": 9e9, "scope": "admin"}).encode())
    flipped = ("A" if signature[0] != "A" else "B") + signature[1:]
    for wrong in (f"{header}.{more.rstrip(b'=').decode()}.{signature}", f"{header}.{payload}.{flipped}"):
        await refused(shared(), wrong)
    await refused(shared(), jwt.encode(claims(), SECRET[::-1], "HS256"))
    for rubbish in ("", ".", "a.b.c", "é", header, f"{header}.{payload}.", "x" * 9000, "[].[].[]"):
        await refused(shared(), rubbish)


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "HS384", "RS256", "", None, ["HS256"]])
async def test_the_token_does_not_choose_its_algorithm(alg: Any):
    """Unsigned tokens, and all algorithms but the configured one, are refused."""
    assert await refused(shared(), unsigned({"alg": alg, "typ": "JWT"}, claims()))


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256"), (ED, "EdDSA")])
async def test_public_keys_are_chosen_by_their_name(key: Any, algorithm: str, tmp_path: Path):
    """RS256, ES256 and EdDSA by a key set; a signature of another key, or an unknown name, is refused."""
    path = tmp_path / "keys.json"
    write(path, public(key, "a", algorithm), public(OTHER, "b", "RS256"))
    tokens, _ = await by_keys(path, algorithm)
    assert (await tokens.identity(jwt.encode(claims(), key, algorithm, {"kid": "a"}))).subject == "shop"
    for kid in ("b", "c", None):
        assert await refused(tokens, jwt.encode(claims(), key, algorithm, {"kid": kid} if kid else None))
    assert await refused(tokens, jwt.encode(claims(), OTHER, "RS256", {"kid": "a"}))


async def test_a_public_key_is_no_shared_secret(tmp_path: Path):
    """RS/HS confusion: a token whose HMAC secret is the public key is refused, and so is such a set."""
    path = tmp_path / "keys.json"
    write(path, public(RSA, "a", "RS256"))
    tokens, _ = await by_keys(path, "RS256")
    pem = RSA.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "a"}).encode()).rstrip(b"=")
    body = base64.urlsafe_b64encode(
        json.dumps({"sub": "root", "exp": 9e9, "scope": "admin"}).encode()
    ).rstrip(b"=")
    signed = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(head + b"." + body, pem)
    forged = b".".join((head, body, base64.urlsafe_b64encode(signed).rstrip(b"="))).decode()
    assert "algorithm" in await refused(tokens, forged)
    with pytest.raises(ValueError, match="cannot be believed together"):
        Jwt(algorithms=("HS256", "RS256"), jwks=str(path))
    write(path, {"kty": "oct", "k": "c2VjcmV0", "kid": "a", "alg": "HS256"})
    with pytest.raises(Fatal, match="no public key"):
        await KeySet(str(path)).start()


async def test_a_changed_key_set_is_taken_over_and_ends_what_was_believed(tmp_path: Path):
    """A new key is known as soon as a token names it; a token of a key that went is refused at once."""
    path = tmp_path / "keys.json"
    write(path, public(OTHER, "old", "RS256"))
    tokens, keys = await by_keys(path, "RS256")
    old = jwt.encode(claims(), OTHER, "RS256", {"kid": "old"})
    await tokens.identity(old)
    write(path, public(RSA, "new", "RS256"))
    await tokens.identity(jwt.encode(claims(), RSA, "RS256", {"kid": "new"}))
    assert keys.generation == 2
    assert "no key" in await refused(tokens, old)


async def test_what_was_believed_once_still_expires():
    """A remembered token is refused from its own end on, leeway included."""
    clock = ManualClock(datetime.now(UTC))
    tokens = Tokens(Jwt(algorithms=("HS256",), leeway=2.0), clock, secret=SECRET)
    token = jwt.encode(claims(exp=clock.now() + timedelta(seconds=60)), SECRET, "HS256")
    await tokens.identity(token)
    clock.advance(61)
    await tokens.identity(token)
    clock.advance(2)
    assert "expired" in await refused(tokens, token)


async def test_an_unreadable_key_set_stops_the_start(tmp_path: Path):
    """A path that is not there, or is no key set, is an error that names it."""
    for content in (None, "{}", "nonsense", '{"keys": []}'):
        path = tmp_path / "keys.json"
        if content is not None:
            path.write_text(content)
        with pytest.raises(Fatal, match=r"keys\.json"):
            await KeySet(str(path)).start()


async def test_a_key_set_is_fetched_and_not_asked_for_at_will():
    """A new key is found by its first token; made-up names cause no fetch within ten seconds."""
    served: dict[str, Any] = {"keys": [public(OTHER, "old", "RS256")], "asked": 0}

    async def answer(_: web.Request) -> web.Response:
        served["asked"] += 1
        return web.json_response({"keys": served["keys"]})

    application = web.Application()
    application.router.add_get("/keys", answer)
    now_s = [0.0]
    async with TestServer(application) as server:
        keys = KeySet(str(server.make_url("/keys")), monotonic=lambda: now_s[0])
        await keys.start()
        config = Jwt(algorithms=("RS256",), jwks=str(server.make_url("/keys")))
        tokens = Tokens(config, ManualClock(datetime.now(UTC)), keys=keys)
        await tokens.identity(jwt.encode(claims(), OTHER, "RS256", {"kid": "old"}))
        served["keys"].append(public(RSA, "new", "RS256"))
        new = jwt.encode(claims(), RSA, "RS256", {"kid": "new"})
        assert "no key" in await refused(tokens, new)
        assert served["asked"] == 1
        now_s[0] = 11.0
        assert (await tokens.identity(new)).subject == "shop"
        for number in range(5):
            await refused(tokens, jwt.encode(claims(), RSA, "RS256", {"kid": f"made-up-{number}"}))
        assert served["asked"] == 2
        now_s[0] = 400.0
        await keys.poll()
        assert served["asked"] == 3


async def test_tokens_wait_for_an_issuer_that_is_away():
    """An address that does not answer stops nothing: tokens get a 503 until it has been read."""
    keys = KeySet("http://127.0.0.1:1/keys")
    await keys.start()
    config = Jwt(algorithms=("RS256",), jwks="http://127.0.0.1:1/keys")
    tokens = Tokens(config, ManualClock(datetime.now(UTC)), keys=keys)
    with pytest.raises(Refused) as caught:
        await tokens.identity(jwt.encode(claims(), RSA, "RS256", {"kid": "a"}))
    assert (caught.value.status, caught.value.headers["retry-after"]) == (503, "5")
