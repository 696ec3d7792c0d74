"""MkDocs hooks.

Equations become MathML, which browsers draw without scripts or fonts from other hosts. Tables of options get a class,
by which docs/site.css stacks their cells on a phone.
"""

import html
import re
from typing import Any

from latex2mathml.converter import convert

INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
WIDE_PAGES = ("configuration.md", "results.md")  # whose tables need the width of the site's list of pages
OPTIONS = re.compile(r"(<table>\s*<thead>\s*<tr>\s*<th>option</th>\s*<th>default</th>.*?</table>)", re.DOTALL)
BLOCK = re.compile(r'<div class="arithmatex">\\\[(.*?)\\\]</div>', re.DOTALL)


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """Replace the equations of a page's HTML, which pymdownx.arithmatex has marked, and mark the tables of options."""
    content = OPTIONS.sub(r'<div class="options-table">\1</div>', content)
    if page.file.src_uri in WIDE_PAGES:
        page.meta["hide"] = ["navigation"]
    content = BLOCK.sub(lambda equation: f'<div class="equation">{_mathml(equation[1], "block")}</div>', content)
    return INLINE.sub(lambda equation: _mathml(equation[1], "inline"), content)


def _mathml(equation: str, display: str) -> str:
    return convert(html.unescape(equation).strip(), display=display)
