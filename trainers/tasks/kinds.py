"""What can be learnt, by name; importing it costs nothing, so that a command can say it."""

from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What can be learnt."""

    CLASSIFICATION = "classification"
    TOKENS = "tokens"
    QA = "qa"
    MLM = "mlm"
    CLM = "clm"
    CLUSTERING = "clustering"
    SENSOR_CLASSIFICATION = "sensor-classification"
    REGRESSION = "regression"
    FORECAST = "forecast"
    ANOMALY = "anomaly"


SENSORS: Final = frozenset({Kind.SENSOR_CLASSIFICATION, Kind.REGRESSION, Kind.FORECAST, Kind.ANOMALY})
"""Those that learn from readings and have no base."""
