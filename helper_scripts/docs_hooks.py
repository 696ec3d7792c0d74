"""MkDocs hooks: equations become MathML, which browsers draw without scripts or fonts from other hosts."""

import html
import re
from typing import Any

from latex2mathml.converter import convert

INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
BLOCK = re.compile(r'<div class="arithmatex">\\\[(.*?)\\\]</div>', re.DOTALL)


def on_page_content(content: str, **_: Any) -> str:
    """Replace the equations of a page's HTML, which pymdownx.arithmatex has marked."""
    content = BLOCK.sub(lambda equation: f'<div class="equation">{_mathml(equation[1], "block")}</div>', content)
    return INLINE.sub(lambda equation: _mathml(equation[1], "inline"), content)


def _mathml(equation: str, display: str) -> str:
    return convert(html.unescape(equation).strip(), display=display)
