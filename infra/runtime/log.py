"""Logs of every worker: structlog, one JSON object a line (or coloured text on a terminal), to stderr."""

import logging
import os
import sys
from typing import Any

import structlog

_NOISY = ("aiokafka", "kafka", "urllib3", "httpx", "httpcore", "faust", "mode", "mlflow", "alembic")
_SECRET_WORDS = ("password", "secret", "token", "authorization", "api_key")


def _hide_secrets(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Blank the value of any field whose name says that it is secret."""
    for key in event:
        if any(word in key.lower() for word in _SECRET_WORDS):
            event[key] = "***"
    return event


def configure(worker: str, *, level: str | None = None, json: bool | None = None) -> None:
    """Send this process's logs, those of its libraries included, through structlog to stderr.

    `level` defaults to `HEADRACE_LOG_LEVEL` or `info`; `json` to whether stderr is no terminal.
    """
    as_json = not sys.stderr.isatty() if json is None else json
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _hide_secrets,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(worker=worker)


def set_level(level: str | None = None) -> None:
    """Log from this level on; None is `HEADRACE_LOG_LEVEL` or `info`. Libraries that say much say less."""
    root = logging.getLogger()
    root.setLevel((level or os.environ.get("HEADRACE_LOG_LEVEL") or "info").upper())
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger; events are dotted and past tense, such as `batch.committed`."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger
