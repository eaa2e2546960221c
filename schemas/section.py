"""What the sections of `headrace.toml` have in common: durations in words, and no unknown keys."""

import re
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_UNIT_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def duration_s(value: Any) -> Any:
    """Read `"7d"`, `"5m"`, `"90s"`, `"250ms"` as seconds; a number is taken as seconds already."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*", value)
    if match is None:
        raise ValueError(
            f"{value!r} is no duration; write a number and ms, s, m, h or d, such as '7d' or '90s'"
        )
    return float(match[1]) * _UNIT_S[match[2]]


Duration = Annotated[float, BeforeValidator(duration_s), Field(gt=0)]


class Section(BaseModel):
    """Base of every section: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
