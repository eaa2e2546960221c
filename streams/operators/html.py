"""Takes markup out of text: consumes text that may be HTML, produces what a reader of the page would see.

Only names of HTML's elements (and custom elements, which have a dash) count as tags, so that `a < b`,
`List<String>` and `<nil>` stay. Entities are read once: `&lt;b&gt;` is text about a tag, not a tag. The
standard library's parser takes minutes for 60 kB of hostile markup; this reader's time is linear.
"""

import re
from html import unescape
from typing import Final

_INLINE_NAMES: Final = """
    a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark q s samp small span
    strike strong sub sup time tt u var wbr
"""
_BLOCK_NAMES: Final = """
    address applet area article aside audio base blockquote body br button canvas caption center circle
    col colgroup datalist dd details dialog dir div dl dt embed fieldset figcaption figure footer form
    frame frameset g h1 h2 h3 h4 h5 h6 head header hgroup hr html iframe img input legend li link main
    map marquee math menu meta meter nav noframes noscript object ol optgroup option output p param path
    picture pre progress search section select slot source summary svg table tbody td textarea tfoot th
    thead title tr track ul video
"""
_INLINE: Final = frozenset(_INLINE_NAMES.split())
_BLOCK: Final = frozenset(_BLOCK_NAMES.split())
_ENDS: Final = {
    name: re.compile(rf"</{name}(?![A-Za-z0-9])[^>]*(?:>|\Z)|\Z", re.IGNORECASE)
    for name in ("script", "style", "template")
}
"""Elements that a reader does not see, with what ends them: the end of the text at the latest."""

_COMMENT: Final = re.compile(r"<!--(?:-?>|.*?(?:--!?>|\Z))", re.DOTALL)
_CDATA: Final = re.compile(r"<!\[CDATA\[(.*?)(?:\]\]>|\Z)", re.DOTALL)
_DECLARATION: Final = re.compile(r"<(?:!DOCTYPE|\?)[^<>]*>", re.IGNORECASE)
_TAG: Final = re.compile(
    r"</?([A-Za-z][A-Za-z0-9:-]{0,63})(?:[\s/](?:[^\"'<>]++|\"[^\"]*+\"|'[^']*+')*+|[\s/][^<>]*+)?>"
)
_MAX_FAILURES: Final = 64  # what is no tag although it looks like one may cost a look at all that follows


def stripped(text: str) -> str:
    """Return the text without markup. Never raises; what is no markup stays as it is."""
    if "<" not in text:
        return unescape(text) if "&" in text else text
    parts: list[str] = []
    done = failures = 0
    at = text.find("<")
    while at >= 0 and failures < _MAX_FAILURES:
        end, replacement = _markup(text, at)
        if end == at:
            failures += text[at + 1 : at + 2].isalpha()
            at = text.find("<", at + 1)
            continue
        parts += (unescape(text[done:at]), replacement)
        done = end
        at = text.find("<", end)
    parts.append(unescape(text[done:]))
    return "".join(parts)


def _markup(text: str, at: int) -> tuple[int, str]:
    """Return where the markup that begins at `at` ends (there, if it is none), and what is left of it."""
    if text.startswith("<!", at) or text.startswith("<?", at):
        cdata = _CDATA.match(text, at)
        if cdata is not None:
            return cdata.end(), cdata[1]
        found = _COMMENT.match(text, at) or _DECLARATION.match(text, at)
        return (at, "") if found is None else (found.end(), " ")
    tag = _TAG.match(text, at)
    if tag is None:
        return at, ""
    name = tag[1].lower()
    ends = _ENDS.get(name)
    if ends is not None:
        closing = text[at + 1] == "/"
        found = None if closing else ends.search(text, tag.end())
        return (tag.end() if found is None else found.end()), " "
    if name in _INLINE:
        return tag.end(), ""
    return (tag.end(), " ") if name in _BLOCK or "-" in name else (at, "")
