"""How a search draws and what it ends early, by name; importing it costs nothing."""

from enum import StrEnum


class Sampler(StrEnum):
    """How values are drawn: every combination, at random, or by a model of what was good (TPE)."""

    GRID = "grid"
    RANDOM = "random"
    BAYESIAN = "bayesian"


class Pruner(StrEnum):
    """Which trials are ended early: those below the median, those that lose in a bracket, or none."""

    MEDIAN = "median"
    HYPERBAND = "hyperband"
    OFF = "off"
