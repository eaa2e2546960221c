"""Reads a statement just as far as the HTTP front must: where data begin, what no client may ask for.

Consumes the text of a query as it came, with an INSERT's data perhaps behind it; produces a ``Statement``.
Everything else about a query is the engine's business, whose own parser judges it.
"""

import re
from dataclasses import dataclass

from infra.local.warehouse.errors import INTO_OUTFILE_NOT_ALLOWED, EngineError, refused

# Comments, quoted things and words are told apart so that a keyword inside quotes is none.
_TOKEN = re.compile(
    rb"""(?P<space>[\s\x00]+|--[^\n]*|\#[!\ ][^\n]*|/\*.*?\*/)
      | (?P<quoted>'(?:[^'\\]|\\.|'')*'|`(?:[^`\\]|\\.|``)*`|"(?:[^"\\]|\\.|"")*")
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<number>[0-9][0-9A-Za-z_.]*)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
# Functions that read files or other machines: none of an analyst's business, and not all stopped by readonly.
_OUTSIDE = re.compile(
    r"^(file|url|s3|gcs|hdfs|remote|remotesecure|python|executable|catboostevaluate|.*cluster.*)$"
)
_SETTING = re.compile(rb"\s+[A-Za-z_][A-Za-z0-9_]*\s*=")  # tells the clause from a table of that name
_HEAD_BYTES = 1 << 20  # an INSERT's head longer than this is not one


@dataclass(frozen=True)
class Statement:
    """A query in the parts that the front needs.

    Attributes:
        verb: the first word, in capitals (empty for an empty query).
        sql: the whole query; for an INSERT with data, the part before FORMAT or VALUES.
        insert_format: the format of an INSERT's data, None when this is no INSERT with data.
        data_start: where the data begins in the text that was read.
        outside: a function in it that reaches out of the database, if any.
        settings: the top-level SETTINGS clause, as (start, end) in the text, if there is one.
    """

    verb: str
    sql: bytes
    insert_format: str | None = None
    data_start: int = 0
    outside: str | None = None
    settings: tuple[int, int] | None = None


def read_statement(text: bytes) -> Statement:
    """Read a statement.

    Raises:
        EngineError: it would have the server read or write a file of its own (INTO OUTFILE, FROM INFILE).
    """
    verb, depth, before, previous_end = "", 0, "", 0
    outside: str | None = None
    settings_start: int | None = None
    settings_end = len(text)
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "space":
            continue
        token = match.group()
        if kind == "other":
            depth += (token == b"(") - (token == b")")
            if token == b"(" and _OUTSIDE.match(before.lower()) and outside is None:
                outside = before
            if token == b";" and settings_start is not None:
                settings_end = min(settings_end, match.start())
        word = token.decode().upper() if kind == "word" else ""
        verb = verb or word
        if verb == "INSERT" and depth == 0:
            if match.start() > _HEAD_BYTES:
                break
            if word in ("SELECT", "WITH"):
                verb = "INSERT SELECT"
            elif word == "VALUES":
                return Statement("INSERT", text[: match.start()], "Values", match.end(), outside)
            elif word == "FORMAT":
                return _with_format(text, match.start(), match.end(), outside)
        if (before.upper(), word) in (("INTO", "OUTFILE"), ("FROM", "INFILE")):
            raise _no_files(word)
        if word == "SETTINGS" and depth == 0 and _SETTING.match(text, match.end()):
            settings_start, settings_end = match.start(), len(text)
        elif word == "FORMAT" and depth == 0 and settings_start is not None:
            settings_end = min(settings_end, match.start())
        before = token.decode(errors="replace").strip('`"') if kind in ("word", "quoted") else ""
        previous_end = match.end()
    sql = text[:previous_end]
    settings = None if settings_start is None else (settings_start, min(settings_end, previous_end))
    if verb == "INSERT":  # no FORMAT, no VALUES, no SELECT: the data's format is the request's default
        return Statement("INSERT", sql.rstrip(b"; \n"), "", len(text), outside, settings)
    return Statement(verb.split()[0] if verb else "", sql, None, 0, outside, settings)


def _with_format(text: bytes, head_end: int, start: int, outside: str | None) -> Statement:
    name = re.compile(rb"\s*([A-Za-z0-9]+)[ \t\f]*;?[ \t\f]*\r?\n?").match(text, start)
    if name is None:
        return Statement("INSERT", text, None, 0, outside)  # the engine says what is wrong
    return Statement("INSERT", text[:head_end], name.group(1).decode(), name.end(), outside)


def _no_files(word: str) -> EngineError:
    return refused(INTO_OUTFILE_NOT_ALLOWED, "INTO_OUTFILE_NOT_ALLOWED", f"{word} is not allowed over HTTP")
