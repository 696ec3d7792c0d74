"""MkDocs hooks: equations become MathML, which browsers draw without scripts or fonts from other hosts."""

import html
import re
from typing import Any

from latex2mathml.converter import convert

INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
BLOCK = re.compile(r'<div class="arithmatex">\\\[(.*?)\\\]</div>', re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:
    """Replace the equations of a page's HTML, which pymdownx.arithmatex has marked."""
    content = BLOCK.sub(lambda equation: convert(html.unescape(equation[1]).strip(), display="block"), content)
    return INLINE.sub(lambda equation: convert(html.unescape(equation[1]).strip()), content)
