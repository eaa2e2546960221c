"""The frame of our HTML pages: consumes a title and a body, produces one self-contained document."""

from html import escape
from typing import Final

PLAIN: Final = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2430; --grid: #d3dae2; }
@media (prefers-color-scheme: dark) { :root { --paper: #12161c; --ink: #e4e9f0; --grid: #2f3844; } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 28px 24px 64px; }
h3 { font-size: 14px; margin: 18px 0 0; overflow-wrap: anywhere; }
svg.plot { display: block; width: 100%; height: auto; color: var(--ink); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 4px 16px 4px 0; border-bottom: 1px solid var(--grid); }
td.name { text-align: left; }
"""
"""For plots with tables of figures, on light and on dark paper."""


def document(title: str, body: str, style: str = PLAIN) -> str:
    """Return a page; the title is escaped here, the body by whoever made it."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style}</style></head>\n"
        f"<body><main>\n{body}\n</main></body></html>\n"
    )
