"""Errors as ClickHouse's HTTP interface shows them: a code, a text and an HTTP status."""

import re

AUTHENTICATION_FAILED = 516
BAD_ARGUMENTS = 36
INTO_OUTFILE_NOT_ALLOWED = 358
NOT_IMPLEMENTED = 48
QUERY_IS_TOO_LARGE = 223
READONLY = 164
SESSION_IS_LOCKED = 373
SESSION_NOT_FOUND = 372
SYNTAX_ERROR = 62
TOO_MANY_SIMULTANEOUS_QUERIES = 202
UNKNOWN_COMPRESSION_METHOD = 89
CANNOT_DECOMPRESS = 271
CHECKSUM_DOESNT_MATCH = 40

_CODE = re.compile(r"Code: (\d+)\. ")
# The statuses of ClickHouse's own HTTPHandler; every other code is a 500.
_FORBIDDEN = {192, 193, AUTHENTICATION_FAILED, 512}
_BAD_REQUEST = {
    *(
        6,
        26,
        27,
        38,
        41,
        53,
        62,
        63,
        69,
        70,
        72,
        76,
        107,
        117,
        130,
        131,
        152,
        242,
        321,
        338,
        377,
        441,
        457,
        489,
        636,
    ),
    *(BAD_ARGUMENTS, CANNOT_DECOMPRESS, UNKNOWN_COMPRESSION_METHOD, 43, 42, 35),
}
_NOT_FOUND = {46, 47, 50, 56, 60, 73, 78, 81, 82, 115, 117 + 20, SESSION_NOT_FOUND}
_STATUS = {194: 401, QUERY_IS_TOO_LARGE: 413, NOT_IMPLEMENTED: 501, 209: 503, 439: 503, 159: 408, 381: 411}


class EngineError(Exception):
    """What ClickHouse or the front refused; ``code`` is ClickHouse's, ``text`` its whole message."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    @property
    def status(self) -> int:
        """The HTTP status that ClickHouse answers with."""
        if self.code in _FORBIDDEN:
            return 403
        if self.code in _BAD_REQUEST:
            return 400
        if self.code in _NOT_FOUND:
            return 404
        return _STATUS.get(self.code, 500)


def refused(code: int, name: str, message: str) -> EngineError:
    """An error of the front itself, worded as ClickHouse words its own."""
    return EngineError(code, f"Code: {code}. DB::Exception: {message} ({name})")


def from_engine(text: str) -> EngineError:
    """An error as the engine raised it, its code read out of its text."""
    found = _CODE.search(text)
    return EngineError(
        int(found.group(1)) if found else 1002, text if found else f"Code: 1002. DB::Exception: {text}"
    )
