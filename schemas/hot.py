"""Which keys of `headrace.toml` each worker heeds: those that it takes over while it runs, and the others.

A key is written with dots; `*` is any one part of it, `**` at the end whatever follows. What a worker heeds
and cannot take over needs its restart, and is named when it changes; what it does not heed is nothing to it.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

Key = tuple[str, ...]


class Heeded(NamedTuple):
    """Patterns of keys. A key that matches both needs a restart."""

    hot: tuple[str, ...] = ()
    cold: tuple[str, ...] = ()

    def takes(self, key: Key) -> bool:
        """Tell whether a key is taken over by a running worker."""
        return matches(key, (*ALL.hot, *self.hot)) and not self.needs_restart(key)

    def needs_restart(self, key: Key) -> bool:
        """Tell whether a key is heeded from the start of a worker on alone."""
        return matches(key, (*ALL.cold, *self.cold))


ALL: Final = Heeded(
    ("log_level",), ("topic_prefix", "database", "services.**", "streams.*", "streams.*.kind")
)
"""What every worker heeds. A whole stream, `streams.NAME`, is one that is new or gone."""

WORKERS: Final[Mapping[str, Heeded]] = {
    "streams": Heeded(
        ("batches.clean", "streams.*.clean.**", "streams.*.dedupe.**"), ("streams.*.dedupe.rekey",)
    ),
    "sink": Heeded(("batches.store",)),
    "serving": Heeded(
        ("batches.predict", "streams.*.gate.p99_ms"),
        ("releases.**", "streams.*.model", "streams.*.model.name", "streams.*.model.priority"),
    ),
    "drift": Heeded(
        ("streams.*.drift.**",),
        ("streams.*.model", "streams.*.model.name", "streams.*.model.task", "alerts.**"),
    ),
    "trainer": Heeded(
        ("streams.*.model.learn.**", "streams.*.gate.**", "streams.*.rollout.**"),
        (
            "releases.**",
            "streams.*.model",
            *(f"streams.*.model.{key}" for key in ("name", "task", "base", "precision", "labels")),
            *("streams.*.model.max_tokens", "streams.*.model.tolerance", "streams.*.clean.**"),
        ),
    ),
    "gateway": Heeded(
        ("gateway.limits.**", "gateway.breaker.**", "gateway.log_level"),
        (
            "releases.**",
            *("gateway.host", "gateway.auth", "gateway.tls.**", "gateway.jwt.**", "gateway.cors.**"),
            *("streams.*.clean.max_bytes", "streams.*.clean.missing_time"),
            *("streams.*.model", "streams.*.model.name", "streams.*.gate.p99_ms"),
        ),
    ),
    "sources": Heeded(),
}


def matches(key: Key, patterns: Sequence[str]) -> bool:
    """Tell whether a key matches one of the patterns at least."""
    return any(_matches(key, tuple(pattern.split("."))) for pattern in patterns)


def _matches(key: Key, pattern: Key) -> bool:
    if pattern[-1] == "**":
        pattern = pattern[:-1]
        key = key[: len(pattern)]
    return len(key) == len(pattern) and all(
        want in {"*", part} for part, want in zip(key, pattern, strict=True)
    )
