"""The `[batches]` section of `headrace.toml`: how much the workers take at once, at most."""

from pydantic import Field

from schemas.section import Section


class Batches(Section):
    """The most records of one round of a worker; each takes less where that is answered sooner.

    A larger `clean` shares a transaction among more events of a backlog, a smaller one holds a partition for
    less time; `predict` likewise, where answers are known already; `store` rows are one round of inserts.
    """

    clean: int = Field(default=10_000, ge=1, le=100_000)
    predict: int = Field(default=512, ge=1, le=10_000)
    store: int = Field(default=20_000, ge=1, le=500_000)
