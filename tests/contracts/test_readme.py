"""The README's promises that a machine can check: defaults, links, and commands that exist."""

import ast
import importlib
import re
import shlex
import tomllib
from typing import Any

import pytest
import typer.main
from jsonschema import Draft202012Validator

from infra.cli.main import app
from schemas.config import Headrace
from schemas.envelope import decode_event
from schemas.jsonschemas import config_schema
from tests.architecture.tree import ROOT

PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "infra/decisions/README.md")
README = (ROOT / "README.md").read_text(encoding="utf-8")
NOT_HEADRACE = {"test", "lint", "X"}  # infra/run's own, and the placeholder


def blocks(language: str) -> list[str]:
    """Return the README's code blocks of a language; empty for those that name none."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [text for named, text in found if named == language]


def commands() -> list[list[str]]:
    """Return every `headrace …` and `infra/run …` line of the README, in words."""
    found = []
    for block in blocks(""):
        for line in block.splitlines():
            part = next(
                (part for part in line.split(" | ") if part.startswith(("headrace ", "infra/run "))), ""
            )
            words = shlex.split(re.split(r"\s{3,}", part)[0])[1:]
            if words and words[0] not in NOT_HEADRACE:
                found.append(words)
    return found


def keys(model: Any, document: dict[str, Any], path: str = "") -> list[str]:
    """Return the fields of a configuration section, and of those inside it, that the document leaves out."""
    missing = []
    for name in type(model).model_fields:
        value = getattr(model, name)
        if name not in document:
            missing.append(f"{path}{name}")
        elif hasattr(type(value), "model_fields") and not isinstance(document[name], str):  # one word for all
            missing += keys(value, document[name], f"{path}{name}.")
    return missing


def test_the_reference_shows_every_key_with_its_default() -> None:
    """The README's headrace.toml changes nothing when it is used as it is, and leaves no key out."""
    (text,) = blocks("toml")
    document = tomllib.loads(text)
    Draft202012Validator(config_schema()).validate(document)
    shown = Headrace.model_validate(document)
    assert shown == Headrace.model_validate({"streams": {"example": {"kind": "api", "model": {}}}})
    assert keys(shown, document) == []
    assert keys(shown.streams["example"], document["streams"]["example"]) == []


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_shown_exists(words: list[str]) -> None:
    """Each command of the tour parses: its name, its options and the number of its arguments."""
    command: Any = typer.main.get_command(app)
    context, rest = command.make_context("headrace", words), words
    while hasattr(command, "commands"):
        name, *rest = rest or [""]
        assert name in command.commands or command.invoke_without_command, f"no such command: {words}"
        if name not in command.commands:
            return
        command = command.commands[name]
    command.make_context(command.name, list(rest), parent=context)


def test_events_shown_are_accepted() -> None:
    """The events that a reader copies from the tour pass the envelope."""
    shown = re.findall(r'\{"specversion".*?\}\}', README)
    assert len(shown) >= 2
    for event in shown:
        assert decode_event(event.encode()).source == "shop"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Each relative link of the documents names a file or folder that is there."""
    text = (ROOT / page).read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    local = [link for link in links if "://" not in link]
    assert local or page == "CHANGELOG.md"
    missing = [link for link in local if not (ROOT / page).parent.joinpath(link).exists()]
    assert not missing


@pytest.mark.parametrize("code", blocks("python"))
def test_python_shown_imports_what_exists(code: str) -> None:
    """The names that the examples import are there, and the code parses."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(str(node.module))
            assert all(hasattr(module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
