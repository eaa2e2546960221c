"""An online shop's requests: consumes a random generator, produces what customers and partners send it.

Some innocent requests look like attacks on purpose (`O'Brien`, `select a size`, `5 < 10`, `../` in a support
ticket), so that a model has something to learn beyond single characters.
"""

from collections.abc import Callable
from random import Random
from typing import Final
from urllib.parse import quote_plus, urlencode

from infra.demo.vocabulary import ADJECTIVES, AGENTS, BRANDS, CITIES, FIRST, LAST, NOTES, NOUNS, STREETS
from schemas.raw import ApiRequest

Maker = Callable[[Random], tuple[str, str, dict[str, str], dict[str, str]]]


def phrase(random: Random) -> str:
    """Return what a customer types into the search box."""
    words = [random.choice(ADJECTIVES)] * (random.random() < 0.7) + [random.choice(NOUNS)]
    if random.random() < 0.3:
        words.append(random.choice(BRANDS))
    if random.random() < 0.1:
        words.append(f"size {random.randint(30, 48)}")
    return " ".join(words)


def _name(random: Random) -> str:
    return f"{random.choice(FIRST)} {random.choice(LAST)}"


def _email(random: Random) -> str:
    return (
        f"{random.choice(FIRST)}.{random.randint(1, 999)}@{random.choice(('mail', 'post', 'inbox'))}.example"
    )


def _search(random: Random) -> tuple[str, str, dict[str, str], dict[str, str]]:
    query = {"q": phrase(random), "page": str(random.randint(1, 9))}
    if random.random() < 0.5:
        query["sort"] = random.choice(("price", "-price", "rating", "newest"))
    return "GET", "/search", query, {}


def _browse(random: Random) -> tuple[str, str, dict[str, str], dict[str, str]]:
    path = f"/products/{random.randint(1, 99999)}/{phrase(random).replace(' ', '-')}"
    query = {"ref": random.choice(("home", "mail", "ads", "search"))} if random.random() < 0.4 else {}
    return "GET", path, query, {}


def _category(random: Random) -> tuple[str, str, dict[str, str], dict[str, str]]:
    query = {
        "brand": random.choice(BRANDS),
        "max_price": str(random.randint(10, 900)),
        "colour": random.choice(ADJECTIVES),
    }
    return "GET", f"/category/{random.choice(NOUNS)}", query, {}


def _basket(random: Random) -> tuple[str, str, dict[str, str], dict[str, str]]:
    body = {
        "sku": f"{random.choice(NOUNS)[:3]}-{random.randint(1000, 9999)}",
        "quantity": str(random.randint(1, 5)),
    }
    if random.random() < 0.3:
        body["note"] = random.choice(NOTES)
    return "POST", "/basket/items", {}, body


def _login(random: Random) -> tuple[str, str, dict[str, str], dict[str, str]]:
    password = "".join(random.choices("abcdefghjkmnpqrstuvwxyz23456789!$-_", k=random.randint(8, 14)))
    return "POST", "/login", {}, {"user": _email(random), "password": password}


def _checkout(random: Random) -> tuple[str, str, dict[str, str], dict[str, str]]:
    street = f"{random.choice(STREETS)} {random.randint(1, 200)}"
    body = {"name": _name(random), "street": street, "city": random.choice(CITIES)}
    if random.random() < 0.5:
        body["note"] = random.choice(NOTES)
    return "POST", "/checkout", {}, body


def _review(random: Random) -> tuple[str, str, dict[str, str], dict[str, str]]:
    text = f"{phrase(random)}: {random.choice(NOTES)}"
    return (
        "POST",
        f"/products/{random.randint(1, 99999)}/reviews",
        {},
        {"stars": str(random.randint(1, 5)), "text": text},
    )


def _download(random: Random) -> tuple[str, str, dict[str, str], dict[str, str]]:
    name = f"{random.choice(NOUNS)}-{random.choice(('manual', 'invoice', 'photo', 'leaflet'))}"
    suffix = random.choice(("pdf", "jpg", "html", "txt"))
    return "GET", "/download", {"file": f"{random.choice(('docs', 'img', 'public'))}/{name}.{suffix}"}, {}


def _ship_check(random: Random) -> tuple[str, str, dict[str, str], dict[str, str]]:
    return (
        "GET",
        "/api/v2/carriers/ping",
        {"host": f"{random.choice(CITIES)[:5].strip()}.carrier.example"},
        {},
    )


def _convert(random: Random) -> tuple[str, str, dict[str, str], dict[str, str]]:
    size = random.choice(("100x100", "640x480", "1200x800"))
    return (
        "POST",
        "/api/v2/images/convert",
        {},
        {"name": f"{random.choice(NOUNS)}{random.randint(1, 99)}.jpg", "size": size},
    )


def _theme(random: Random) -> tuple[str, str, dict[str, str], dict[str, str]]:
    page = random.choice(("index", "basket"))
    template = f"{random.choice(('themes', 'mail'))}/{random.choice(ADJECTIVES)}/{page}.html"
    return "GET", "/render", {"template": template}, {}


def _contact(random: Random) -> tuple[str, str, dict[str, str], dict[str, str]]:
    return (
        "POST",
        "/contact",
        {},
        {"topic": random.choice(("order", "return", "other")), "message": random.choice(NOTES)},
    )


def _api(random: Random) -> tuple[str, str, dict[str, str], dict[str, str]]:
    what = random.choice(("orders", "stock", "prices", "customers"))
    query = {
        "since": f"2026-0{random.randint(1, 9)}-1{random.randint(0, 9)}",
        "limit": str(random.choice((50, 100, 500))),
    }
    return "GET", f"/api/v2/{what}", query, {}


NORMAL: Final[tuple[Maker, ...]] = (
    *(_search, _search, _browse, _browse, _category, _basket, _login),
    *(_checkout, _review, _download, _ship_check, _api, _convert, _theme, _contact),
)

# Where an attacker of each class puts the payload: the request's maker and the parameter that carries it.
CARRIERS: Final[dict[str, tuple[tuple[Maker, str], ...]]] = {
    "sqli": (
        (_search, "q"),
        (_login, "user"),
        (_login, "password"),
        (_category, "brand"),
        (_api, "since"),
        (_basket, "sku"),
    ),
    "xss": ((_search, "q"), (_search, "q"), (_review, "text"), (_browse, "ref"), (_contact, "message")),
    "path-traversal": (
        (_download, "file"),
        (_download, "file"),
        (_download, "file"),
        (_browse, "ref"),
        (_theme, "template"),
    ),
    "cmdi": (
        (_ship_check, "host"),
        (_ship_check, "host"),
        (_ship_check, "host"),
        (_convert, "name"),
        (_convert, "name"),
    ),
}


def normal_request(random: Random) -> ApiRequest:
    """Return an innocent request."""
    method, path, query, body = random.choice(NORMAL)(random)
    return _request(random, method, path, query, body)


def attacked_request(random: Random, label: str, payload: str) -> ApiRequest:
    """Return a request of the shop that carries `payload` where attackers of this class put it."""
    maker, parameter = random.choice(CARRIERS[label])
    method, path, query, body = maker(random)
    target = body if parameter in body or (method == "POST" and parameter not in query) else query
    target[parameter] = payload
    return _request(random, method, path, query, body)


def _request(
    random: Random, method: str, path: str, query: dict[str, str], body: dict[str, str]
) -> ApiRequest:
    status = 200 if random.random() < 0.95 else random.choice((302, 404, 500))
    return ApiRequest(
        method=method,
        path=path,
        query=urlencode(query, quote_via=quote_plus),
        body=urlencode(body, quote_via=quote_plus),
        status=status,
        duration_ms=round(random.lognormvariate(3.2, 0.6), 1),
        client_ip=f"203.0.113.{random.randint(1, 254)}",
        user_agent=random.choice(AGENTS),
    )
