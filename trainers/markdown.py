"""Text from events in a card: consumes what anybody may have written, produces what a cell can hold."""


def cell(text: str) -> str:
    r"""Return a text on one line, in which every character is seen and no cell ends early.

    >>> cell("a|b\x1b[2J")
    'a\\|b\\x1b[2J'
    """
    seen = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)
    return seen.replace("|", "\\|")


def code(text: str) -> str:
    """Return a text as it stands, in a cell's monospaced form: a longer fence than any it holds."""
    fence = "`"
    while fence in text:
        fence += "`"
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{cell(text)}{pad}{fence}"
