"""Errors of Flink: what the cluster or a job could not do, and what mends it."""

from schemas.errors import Fatal


class FlinkError(Fatal):
    """Flink cannot do what was asked; the message says why and what to do."""
