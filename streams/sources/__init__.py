"""Sources: what Headrace itself brings onto `events.raw`: this machine's readings and its logs' lines."""

from streams.sources.run import run

__all__ = ["run"]
