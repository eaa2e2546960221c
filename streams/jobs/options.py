"""What a job is told: consumes its command line, produces what its functions need on every machine."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from infra.runtime.settings import DEFAULT_CONFIG, Endpoints, Settings, home, parse
from schemas.errors import Fatal


@dataclass(frozen=True)
class JobOptions:
    """A job's settings; `config` is the text of `headrace.toml`, as the workers have not the file."""

    config: str
    bootstrap: str
    prefix: str | None
    group: str
    parallelism: int | None
    checkpoint_ms: int
    transactional_prefix: str

    def settings(self) -> Settings:
        """Return the settings as every other part of Headrace has them.

        Raises:
            Fatal: the configuration is wrong.
        """
        config = parse(self.config, "the job's configuration")
        if self.prefix is not None:
            config = config.model_copy(update={"topic_prefix": self.prefix})
        return Settings(home(), config, Endpoints(self.bootstrap, "", ""))


def parser(description: str, group: str) -> argparse.ArgumentParser:
    """Return the parser of the options that all jobs have."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--config", type=Path, help="headrace.toml; else the built-in three streams")
    made.add_argument("--bootstrap", required=True, help="HOST:PORT of Kafka")
    made.add_argument("--prefix", help="the topics' prefix; else the file's")
    made.add_argument("--group", default=group, help="consumer group, without the prefix")
    made.add_argument("--parallelism", type=int, help="tasks of each part; else as the client says (-p)")
    made.add_argument("--checkpoint-ms", type=int, default=1000, help="between two commits")
    made.add_argument("--transactional-prefix", help="of the producers' ids; else the group")
    return made


def options(arguments: argparse.Namespace) -> JobOptions:
    """Read the file that the options name.

    Raises:
        Fatal: it cannot be read, or is wrong.
    """
    text = DEFAULT_CONFIG
    if arguments.config is not None:
        try:
            text = arguments.config.read_text(encoding="utf-8")
        except OSError as error:
            raise Fatal(f"--config: {error}") from error
    told = JobOptions(
        config=text,
        bootstrap=arguments.bootstrap,
        prefix=arguments.prefix,
        group=arguments.group,
        parallelism=arguments.parallelism,
        checkpoint_ms=arguments.checkpoint_ms,
        transactional_prefix=arguments.transactional_prefix or "",
    )
    prefix = told.settings().config.topic_prefix
    return replace(
        told,
        group=prefix + told.group,
        transactional_prefix=told.transactional_prefix or prefix + told.group,
    )


def parsed(made: argparse.ArgumentParser, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse a job's own arguments."""
    return made.parse_args(argv)
