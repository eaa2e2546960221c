"""API keys: made once, kept as hashes, revoked for good."""

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from infra.cli.main import app
from schemas.errors import Fatal
from serving.gateway import keys
from serving.gateway.scopes import Scope

NOW = datetime(2026, 3, 14, 9, 0, tzinfo=UTC)


def make(home: Path, name: str = "shop", **limits) -> tuple[keys.Key, str]:
    """Make a key that may publish; return it and its text."""
    id, secret = keys.fresh()
    made = keys.Key(
        id=id, name=name, sha256="", scopes=(Scope.PUBLISH,), created_at=NOW, created_by="maria@ops", **limits
    )
    return made, keys.create(home, made, secret)


def test_the_text_of_a_key_is_kept_nowhere(tmp_path: Path):
    """The file has the hash alone, and only its owner can read it."""
    _, text = make(tmp_path)
    path = tmp_path / keys.FILE
    assert text.split("_", 2)[2] not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_is_found_by_its_whole_text_alone(tmp_path: Path):
    """Another secret, another id, a part of it or anything else is nobody's key."""
    made, text = make(tmp_path)
    other, _ = make(tmp_path, "other")
    ring = keys.Ring(keys.read(tmp_path) or ())
    found = ring.find(text)
    assert found is not None and ring.identity(found).name == f"key/{made.id}"
    assert ring.identity(found).scopes == {Scope.PUBLISH}
    last = "A" if text[-1] != "A" else "B"
    for wrong in (
        text[:-1],
        text[:-1] + last,
        text.replace(made.id, other.id),
        text.upper(),
        "",
        "hr_",
        text + "\n",
    ):
        assert ring.find(wrong) is None


def test_a_revoked_or_expired_key_stays_on_record(tmp_path: Path):
    """Its standing changes; who could come in when is still known."""
    made, _ = make(tmp_path)
    short, _ = make(tmp_path, "short", expires_at=NOW + timedelta(hours=1))
    assert keys.revoke(tmp_path, "shop", "maria@ops", NOW).id == made.id
    kept = {key.id: key for key in keys.read(tmp_path) or ()}
    assert kept[made.id].standing(NOW) == "revoked"
    assert kept[short.id].standing(NOW) == "valid"
    assert kept[short.id].standing(NOW + timedelta(hours=1)) == "expired"
    with pytest.raises(Fatal, match="headrace keys list"):
        keys.revoke(tmp_path, "shop", "maria@ops", NOW)


def test_a_name_is_given_once_at_a_time(tmp_path: Path):
    """Two valid keys of one name could not be told apart; after a revocation it is free again."""
    make(tmp_path)
    with pytest.raises(Fatal, match="already"):
        make(tmp_path)
    keys.revoke(tmp_path, "shop", "maria@ops", NOW)
    make(tmp_path)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path):
    """Wrong permissions are an error that says what to do, and so is damage."""
    make(tmp_path)
    path = tmp_path / keys.FILE
    for mode in (0o644, 0o660, 0o606):
        path.chmod(mode)
        with pytest.raises(Fatal, match="chmod 600"):
            keys.read(tmp_path)
    path.chmod(0o440)
    assert keys.read(tmp_path)
    path.chmod(0o600)
    path.write_text("[{]")
    with pytest.raises(Fatal, match="damaged"):
        keys.read(tmp_path)


def test_the_command_shows_a_key_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`create` prints what works, `list` prints no secret and no hash, `revoke` ends it."""
    monkeypatch.setenv("HEADRACE_HOME", str(tmp_path))
    run = CliRunner().invoke
    made = run(
        app, ["keys", "create", "shop", "--scope", "publish", "--scope", "read", "--expires", "90d", "--json"]
    )
    shown = json.loads(made.stdout)
    assert shown["scopes"] == ["publish", "read"]
    found = keys.Ring(keys.read(tmp_path) or ()).find(shown["key"])
    assert found is not None and found.expires_at is not None
    listed = run(app, ["keys", "list", "--json"]).stdout
    assert shown["key"] not in listed and found.sha256 not in listed
    assert json.loads(listed)["keys"][0]["standing"] == "valid"
    assert "publish, read" in run(app, ["keys", "list"]).stdout
    assert run(app, ["keys", "revoke", shown["id"]]).exit_code == 0
    assert json.loads(run(app, ["keys", "list", "--json"]).stdout)["keys"][0]["standing"] == "revoked"
