"""Who reaches which endpoint: every route has a scope, and nothing is reached without it."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from infra.bench.gateway.inside import STREAMS, Memory, ask, gateway_over
from schemas.errors import Fatal
from schemas.raw import structured
from schemas.record import Kind
from serving.gateway import keys
from serving.gateway.app import application
from serving.gateway.core import Gateway
from serving.gateway.edge import Edge
from serving.gateway.problems import Refused
from serving.gateway.scopes import SCOPES, Scope, Table

NOW = datetime(2026, 3, 14, 9, 0, tzinfo=UTC)
EVENT = json.dumps(structured("1", "shop", Kind.API, {"method": "GET", "path": "/"})).encode()
MEDIA = (b"content-type", b"application/cloudevents+json")
CALLS = {
    ("GET", "/livez"): None,
    ("POST", "/v1/events"): Scope.PUBLISH,
    ("POST", "/v1/labels"): Scope.PUBLISH,
    ("GET", "/v1/predictions"): Scope.READ,
    ("GET", "/v1/predictions/shop/eu/1"): Scope.READ,
    ("GET", "/metrics"): Scope.READ,
    ("GET", "/openapi.json"): Scope.READ,
    ("GET", "/v2"): Scope.READ,
    ("GET", "/v2/health/ready"): Scope.READ,
    ("POST", "/v2/models/requests/infer"): Scope.PREDICT,
    ("POST", "/v2/models/requests/versions/1/infer"): Scope.PREDICT,
}


def make(home: Path, *scopes: Scope, **limits: Any) -> str:
    """Make a key and return its text."""
    id, secret = keys.fresh()
    name = f"{'-'.join(scopes)}-{id}"
    made = keys.Key(
        id=id, name=name, sha256="", scopes=scopes, created_at=NOW, created_by="maria@ops", **limits
    )
    return keys.create(home, made, secret)


def bearer(text: str) -> tuple[bytes, bytes]:
    """Return the header of a key."""
    return b"authorization", f"Bearer {text}".encode()


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway that asks for a key."""
    async with gateway_over(Memory(), tmp_path, f'{STREAMS}\n[gateway]\nauth = "required"') as made:
        yield made


@pytest.fixture
def app(gateway: Gateway) -> Edge:
    """Its application."""
    return application(gateway)


def test_every_route_has_an_entry(gateway: Gateway):
    """No route is there that the table does not know, and all but the probes need a scope."""
    guarded = application(gateway)._app
    routes = {route.path for route in guarded._app._app.routes}  # type: ignore[attr-defined]  # the innermost
    assert routes <= set(SCOPES)
    assert {route for route, scope in SCOPES.items() if scope is None} == {"/livez", "/readyz"}


def test_a_path_finds_its_route():
    """Parameters match as the application's router matches; what is no route has no entry."""
    table = Table()
    found = table.of("/v1/predictions/shop/eu/1")
    assert found is not None and found.route == "/v1/predictions/{source:path}/{id}"
    for path, scope in {
        "/v2/models/requests/infer": Scope.PREDICT,
        "/v2/models/requests/versions/3/infer": Scope.PREDICT,
        "/v2/models/requests/versions/3": Scope.READ,
        "/v2/health/ready": Scope.READ,
        "/v2/models/requests/unload": Scope.ADMIN,
        "/v2/models/a/b/infer": Scope.ADMIN,
    }.items():
        need = table.of(path)
        assert need is not None and need.scope is scope
    for path in (
        "/",
        "/v1/events/",
        "/v1/eventsx",
        "/V1/events",
        "//v1/events",
        "/v1/predictions/x",
        "/docs",
    ):
        assert table.of(path) is None


async def test_without_a_key_only_probes_answer(app: Edge, gateway: Gateway, tmp_path: Path):
    """No key, a wrong key, a wrong scheme, two keys: 401 with a challenge, for every other path there is."""
    good = make(tmp_path, *Scope)
    gateway.shield.access.ring = keys.Ring(keys.read(tmp_path) or ())
    wrong: list[list[tuple[bytes, bytes]]] = [
        [],
        [bearer(good[:-1] + ("A" if good[-1] != "A" else "B"))],
        [bearer("hr_0123456789ab_" + "A" * 43)],
        [(b"authorization", b"Basic c2hvcDpwdw==")],
        [(b"authorization", b"Bearer")],
        [bearer(good), (b"x-api-key", good.encode())],
        [(b"x-api-key", "ключ".encode())],
        [bearer("a.b.c")],
    ]
    for headers in wrong:
        for (method, path), scope in {**CALLS, ("GET", "/nope"): Scope.READ}.items():
            answer = await ask(app, method, path, headers)
            assert answer.status == (200 if scope is None else 401), (path, headers)
            if scope is not None:
                assert answer.headers[b"www-authenticate"].startswith(b'Bearer realm="headrace"')
                assert answer.headers[b"content-type"] == b"application/problem+json"


@pytest.mark.parametrize("scope", list(Scope))
async def test_a_key_opens_what_its_scope_says(scope: Scope, app: Edge, gateway: Gateway, tmp_path: Path):
    """403 names the scope that is missing; with it the endpoint is asked."""
    text = make(tmp_path, scope)
    gateway.shield.access.ring = keys.Ring(keys.read(tmp_path) or ())
    for (method, path), needed in CALLS.items():
        for header in (bearer(text), (b"x-api-key", text.encode())):
            answer = await ask(app, method, path, [header])
            if needed in {None, scope}:
                assert answer.status not in {401, 403, 404, 405}, path
            else:
                assert answer.status == 403
                assert json.loads(answer.body)["scope"] == needed.value
                assert f'scope="{needed.value}"'.encode() in answer.headers[b"www-authenticate"]


async def test_a_caller_with_a_key_hears_what_does_not_exist(app: Edge, gateway: Gateway, tmp_path: Path):
    """404 and 405 as ever; a websocket is closed."""
    header = bearer(make(tmp_path, *Scope))
    gateway.shield.access.ring = keys.Ring(keys.read(tmp_path) or ())
    assert (await ask(app, "GET", "/nope", [header])).status == 404
    assert (await ask(app, "GET", "/v1/events", [header])).status == 405
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    await app({"type": "websocket", "path": "/v1/events", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


async def test_on_loopback_without_keys_the_door_is_open(tmp_path: Path):
    """The laptop's default asks nothing; the first key closes it."""
    async with gateway_over(Memory(), tmp_path) as gateway:
        app = application(gateway)
        assert (await ask(app, "POST", "/v1/events", [MEDIA], [EVENT])).status == 202
        assert (await ask(app, "GET", "/nope")).status == 404
    text = make(tmp_path, Scope.PUBLISH)
    async with gateway_over(Memory(), tmp_path) as gateway:
        app = application(gateway)
        assert (await ask(app, "POST", "/v1/events", [MEDIA], [EVENT])).status == 401
        assert (await ask(app, "POST", "/v1/events", [MEDIA, bearer(text)], [EVENT])).status == 202


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "gateway.example.org"])
async def test_strangers_are_never_let_in_unasked(host: str, tmp_path: Path):
    """An address that others can reach needs keys, tokens or `required`; `off` is refused outright."""
    section = f'{STREAMS}\n[gateway]\nhost = "{host}"\n'
    with pytest.raises(Fatal, match="headrace keys create"):
        async with gateway_over(Memory(), tmp_path, section):
            pass
    with pytest.raises(Fatal, match="everybody could come in"):
        async with gateway_over(Memory(), tmp_path, f'{section}auth = "off"'):
            pass
    async with gateway_over(Memory(), tmp_path, f'{section}auth = "required"') as gateway:
        assert gateway.shield.access.asks
    make(tmp_path, Scope.READ)
    async with gateway_over(Memory(), tmp_path, section) as gateway:
        assert gateway.shield.access.asks


async def test_a_weak_or_missing_secret_stops_the_start(tmp_path: Path):
    """HS256 without 32 bytes of secret, or with one that everybody can read, is refused."""
    file = tmp_path / "secret"
    section = f'{STREAMS}\n[gateway.jwt]\nalgorithms = ["HS256"]\nsecret_file = "{file}"'
    for content, why in ((None, "cannot be read"), ("short", "5 bytes"), ("x" * 40, None)):
        if content is not None:
            file.write_text(content)
            file.chmod(0o600)
        if why is not None:
            with pytest.raises(Fatal, match=why):
                async with gateway_over(Memory(), tmp_path, section):
                    pass
    async with gateway_over(Memory(), tmp_path, section) as gateway:
        assert gateway.shield.access.asks
    file.chmod(0o604)
    with pytest.raises(Fatal, match="chmod"):
        async with gateway_over(Memory(), tmp_path, section):
            pass


async def test_guesses_are_slowed_down(app: Edge, gateway: Gateway):
    """Too many failed logins of one network are answered 429 with when to come again."""
    statuses = [(await ask(app, "POST", "/v1/events")).status for _ in range(150)]
    assert set(statuses[:90]) == {401}
    assert statuses[-1] == 429
    assert (await ask(app, "GET", "/livez")).status == 200


async def test_a_browser_is_refused_unless_its_page_is_listed(tmp_path: Path):
    """CORS is off; a listed origin's preflight passes without a key, and other origins get nothing."""
    preflight = [
        (b"access-control-request-method", b"POST"),
        (b"access-control-request-headers", b"x-api-key"),
    ]
    allowed, other = (b"origin", b"https://shop.example"), (b"origin", b"https://evil.example")
    async with gateway_over(Memory(), tmp_path) as gateway:
        answer = await ask(application(gateway), "OPTIONS", "/v1/events", [*preflight, allowed])
        assert b"access-control-allow-origin" not in answer.headers
    config = f'{STREAMS}\n[gateway]\nauth = "required"\n[gateway.cors]\norigins = ["https://shop.example"]'
    async with gateway_over(Memory(), tmp_path, config) as gateway:
        app = application(gateway)
        answer = await ask(app, "OPTIONS", "/v1/events", [*preflight, allowed])
        assert answer.headers[b"access-control-allow-origin"] == b"https://shop.example"
        assert (await ask(app, "OPTIONS", "/v1/events", [*preflight, other])).status == 400
        assert (await ask(app, "POST", "/v1/events", [allowed])).status == 401


async def test_a_page_of_elsewhere_reaches_no_open_gateway(tmp_path: Path):
    """A browser sends simple requests for any page unasked; an open gateway refuses them by their origin."""
    label = [b'{"stream":"requests","source":"shop","id":"1","label":"x"}']
    config = f'{STREAMS}\n[gateway.cors]\norigins = ["https://shop.example"]'
    async with gateway_over(Memory(), tmp_path, config) as gateway:
        app = application(gateway)
        for origin, status in {
            "https://evil.example": 403,
            "http://127.0.0.1.evil.example": 403,
            "http://[": 403,
            "null": 403,
            "": 403,
            "http://127.0.0.1:8080": 202,
            "http://localhost:3000": 202,
            "https://shop.example": 202,
        }.items():
            header = (b"origin", origin.encode())
            assert (await ask(app, "POST", "/v1/labels", [header], label)).status == status, origin
        assert (await ask(app, "POST", "/v1/labels", [], label)).status == 202


async def test_the_description_says_what_each_route_asks_for(tmp_path: Path):
    """`/openapi.json` names the scope of every route that it describes, and none of the probes."""
    async with gateway_over(Memory(), tmp_path) as gateway:
        document = json.loads((await ask(application(gateway), "GET", "/openapi.json")).body)
    for path, operations in document["paths"].items():
        scope = SCOPES[path]
        wanted = [] if scope is None else [{"key": [scope.value]}, {"bearer": [scope.value]}]
        assert [operation["security"] for operation in operations.values()] == [wanted]


async def test_what_is_not_http_is_asked_the_same(app: Edge, gateway: Gateway, tmp_path: Path):
    """The door judges headers alone, as a gRPC interceptor has them; inference clients find `error`."""
    text = make(tmp_path, Scope.PREDICT)
    gateway.shield.access.ring = keys.Ring(keys.read(tmp_path) or ())
    caller = await gateway.shield.access.authorize([bearer(text)], Scope.PREDICT)
    assert caller == await gateway.shield.door.known([bearer(text)], "10.0.0.0/24")
    await gateway.shield.door.let_in(caller, Scope.PREDICT)
    with pytest.raises(Refused, match="'publish'"):
        await gateway.shield.door.let_in(caller, Scope.PUBLISH)
    refused = await ask(app, "POST", "/v2/models/requests/infer")
    assert json.loads(refused.body)["error"].startswith("send a key")
