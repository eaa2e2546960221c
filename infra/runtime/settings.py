"""Settings, read once at a process's entry point: `headrace.toml`, the environment, the local stack.

HEADRACE_CONFIG      path of headrace.toml (default: ./headrace.toml, else the built-in three streams)
HEADRACE_HOME        data folder of the local stack (default: ./.headrace)
HEADRACE_KAFKA       host:port          an existing Kafka instead of the local one
HEADRACE_REDIS       redis://…          an existing Redis
HEADRACE_CLICKHOUSE  http://user:pw@…   an existing ClickHouse
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from pydantic import BaseModel, ValidationError

from schemas.config import Headrace, Stream
from schemas.errors import Fatal
from schemas.topics import Topic

DEFAULT_CONFIG: Final = """
[streams.requests]
kind = "api"
[streams.requests.model]
task = "classification"

[streams.host]
kind = "sensor"
[streams.host.model]
task = "anomaly"
learn = { epochs = 100 }

[streams.logs]
kind = "log"
"""


@dataclass(frozen=True)
class Endpoints:
    """Where the three services answer. `clickhouse` may carry a user and password and is never logged."""

    kafka: str
    redis: str
    clickhouse: str


@dataclass(frozen=True)
class Settings:
    """What a process was started with: the file's contents, the data folder and the services."""

    home: Path
    config: Headrace
    endpoints: Endpoints

    def topic(self, topic: Topic) -> str:
        """Return a topic's name in this installation, its prefix included."""
        return f"{self.config.topic_prefix}{topic.name}"

    def stream(self, name: str) -> Stream:
        """Return a stream's configuration.

        Raises:
            Fatal: there is no such stream; the message lists those there are.
        """
        try:
            return self.config.streams[name]
        except KeyError:
            known = ", ".join(self.config.streams) or "none"
            raise Fatal(f"no stream is called {name!r}; headrace.toml defines: {known}") from None

    @property
    def releases(self) -> Path:
        """Return the folder that holds the release folders."""
        return self.home / "releases"


def home() -> Path:
    """Return the data folder of the local stack."""
    return Path(os.environ.get("HEADRACE_HOME", ".headrace")).absolute()


def parse(text: str, origin: str) -> Headrace:
    """Read the text of a `headrace.toml`.

    Raises:
        Fatal: no TOML, an unknown key (with the nearest right one) or a value out of its range.
    """
    try:
        return Headrace.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise Fatal(f"{origin} is not valid TOML: {error}") from error
    except ValidationError as error:
        lines = [_explain(problem["type"], problem["loc"], problem["msg"]) for problem in error.errors()]
        raise Fatal(f"{origin}: " + "; ".join(lines)) from error


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings of this process.

    Raises:
        Fatal: the file is wrong, or no service address is known because the local stack is not up.
    """
    config = load_config(environ)
    folder = Path(environ.get("HEADRACE_HOME", ".headrace")).absolute()
    return Settings(folder, config, _endpoints(folder, config, environ))


def config_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where `headrace.toml` is looked for, whether it is there or not."""
    return Path(environ.get("HEADRACE_CONFIG") or "headrace.toml").absolute()


def load_config(environ: Mapping[str, str] = os.environ) -> Headrace:
    """Read `headrace.toml` alone, without asking where the services are."""
    named = environ.get("HEADRACE_CONFIG")
    path = config_path(environ)
    if path.is_file():
        return parse(path.read_text(encoding="utf-8"), named or path.name)
    if named:
        raise Fatal(f"HEADRACE_CONFIG names {named}, which is no file")
    return parse(DEFAULT_CONFIG, "the built-in configuration")


def _endpoints(folder: Path, config: Headrace, environ: Mapping[str, str]) -> Endpoints:
    """Take each address from the environment, else the file, else the local stack's own record."""
    given = {
        "kafka": environ.get("HEADRACE_KAFKA") or config.services.kafka,
        "redis": environ.get("HEADRACE_REDIS") or config.services.redis,
        "clickhouse": environ.get("HEADRACE_CLICKHOUSE") or config.services.clickhouse.get_secret_value(),
    }
    if not all(given.values()):
        record = folder / "stack.json"
        if not record.is_file():
            missing = ", ".join(name for name, address in given.items() if not address)
            raise Fatal(
                f"no address for {missing}: start the local stack with `headrace up`, or set HEADRACE_*"
            )
        local: dict[str, Any] = msgspec.json.decode(record.read_bytes())
        given = {name: address or str(local[name]) for name, address in given.items()}
    return Endpoints(**given)


def _explain(kind: str, location: tuple[int | str, ...], message: str) -> str:
    """Say where a value is wrong; for an unknown key, which right one is nearest."""
    path = ".".join(str(part) for part in location)
    if kind != "extra_forbidden":
        return f"{path}: {message}"
    known = _keys_at(location[:-1])
    near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
    return f"{path}: unknown key; {hint}"


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the section at `location` accepts."""
    section: type[BaseModel] = Headrace
    for part in location:
        if part in section.model_fields:
            annotation = section.model_fields[str(part)].annotation
            candidates = [annotation, *getattr(annotation, "__args__", ())]
            found = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
            section = found[0] if found else section
    return sorted(section.model_fields)
