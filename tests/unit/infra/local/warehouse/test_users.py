"""Who may use the local warehouse."""

import json
from pathlib import Path

import pytest

from infra.local.warehouse.errors import EngineError
from infra.local.warehouse.request import Asked, credentials
from infra.local.warehouse.users import Users


def test_without_a_file_there_are_two_users() -> None:
    """``default`` may all, ``analyst`` may read."""
    users = Users()
    assert users.authenticate("default", "").readonly == 0
    assert users.authenticate("analyst", "").readonly == 2


def test_a_file_gives_passwords(tmp_path: Path) -> None:
    """The right password opens, the wrong one and an unknown name give the same answer."""
    path = tmp_path / "users.json"
    path.write_text(
        json.dumps({"default": {"password": "right"}, "reader": {"password": "r", "readonly": 1}})
    )
    users = Users.from_file(path)
    assert users.authenticate("default", "right").name == "default"
    assert users.authenticate("reader", "r").readonly == 1
    for name, password in (("default", "wrong"), ("default", ""), ("nobody", "right"), ("analyst", "")):
        with pytest.raises(EngineError) as refused:
            users.authenticate(name, password)
        assert refused.value.code == 516
        assert refused.value.status == 403


@pytest.mark.parametrize(
    ("params", "headers", "found"),
    [
        ({}, {}, ("default", "")),
        ({"user": "u", "password": "p"}, {}, ("u", "p")),
        ({"user": "u"}, {"authorization": "Basic YTpi"}, ("a", "b")),
        ({}, {"x-clickhouse-user": "h", "x-clickhouse-key": "k", "authorization": "Basic YTpi"}, ("h", "k")),
    ],
)
def test_credentials_come_from_headers_or_url(
    params: dict[str, str], headers: dict[str, str], found: tuple[str, str]
) -> None:
    """Every way that ClickHouse's clients use."""
    assert credentials(Asked("POST", params, headers)) == found


def test_unreadable_authorization_is_refused() -> None:
    """Nothing falls back to the default user when a header was given."""
    for value in ("Basic %%%", "Bearer x"):
        with pytest.raises(EngineError):
            credentials(Asked("POST", {}, {"authorization": value}))
