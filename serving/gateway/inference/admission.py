"""What may wait for the models: a bounded number of rows, in the order in which they came."""

from collections.abc import Iterator
from contextlib import contextmanager

from serving.gateway.problems import Refused


class Admission:
    """Lets in at most `max_rows` rows, those that wait and those that are being answered."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._rows = 0

    @contextmanager
    def admitted(self, rows: int) -> Iterator[None]:
        """Hold a place for so many rows.

        Raises:
            Refused: 503, too many rows wait or are being answered already.
        """
        if self._rows + rows > self._max_rows:
            raise Refused(503, f"{self._rows} rows are waiting for the models already; send it again later")
        self._rows += rows
        try:
            yield
        finally:
            self._rows -= rows
