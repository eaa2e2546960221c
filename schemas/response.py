"""What follows a drift: consumes the severity of an alert, produces the response that a stream asks for.

In `headrace.toml` one word is for every severity, a table for each: `on_error = "increment"` is
`on_error = { warning = "increment", critical = "increment" }`.
"""

from typing import Annotated, Any

from pydantic import BeforeValidator

from schemas.drift import Response, Severity
from schemas.section import Section


class BySeverity(Section):
    """The response to a warning and to what is critical; one that is left out is an alert alone."""

    warning: Response = Response.ALERT
    critical: Response = Response.ALERT

    def to(self, severity: Severity) -> Response:
        """Return what an alert of this severity asks for."""
        return self.critical if severity is Severity.CRITICAL else self.warning


def always(response: Response) -> BySeverity:
    """Return the same response to every severity."""
    return BySeverity(warning=response, critical=response)


def _of_one_word(value: Any) -> Any:
    return {"warning": value, "critical": value} if isinstance(value, str) else value


Responses = Annotated[BySeverity, BeforeValidator(_of_one_word, json_schema_input_type=Response | BySeverity)]
