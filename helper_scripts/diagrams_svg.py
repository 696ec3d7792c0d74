"""What the documentation's diagrams are drawn with: shapes as SVG elements, and colours for light and dark."""

STYLE = """
  text { font: 14px system-ui, sans-serif; fill: #24292f; text-anchor: middle }
  .title { font-weight: 600 }
  .small { font-size: 12px }
  .start { text-anchor: start }
  .line { stroke: #57606a; fill: none }
  .dashed { stroke-dasharray: 3 3; opacity: 0.7 }
  .box { stroke: #57606a; fill: #ffffff }
  .on { fill: #0969da } .off { fill: #cf222e } .bar { fill: #8c959f } .best { fill: #1a7f37 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .line, .box { stroke: #8b949e }
    .box { fill: #161b22 }
    .on { fill: #58a6ff } .off { fill: #ff7b72 } .bar { fill: #6e7681 } .best { fill: #3fb950 }
  }
"""


def svg(width: int, height: int, label: str, parts: list[str]) -> str:
    """Return a picture that follows the reader's choice of light or dark; the label is for those who cannot see it."""
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{label}">'
    return "\n".join([head, f"<style>{STYLE}</style>", *parts, "</svg>", ""])


def text(x: float, y: float, words: str, kind: str = "small") -> str:
    """Return words whose middle, or with the kind `start` whose beginning, is at x."""
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{words}</text>'


def box(x: float, y: float, width: float, height: float, radius: float = 0, kind: str = "box") -> str:
    """Return a rectangle, whose upper left corner is at x and y."""
    round_corners = f' rx="{radius:g}"' if radius else ""
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"{round_corners}/>'


def dot(x: float, y: float, kind: str = "on", radius: float = 4) -> str:
    """Return a disc."""
    return f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" r="{radius:g}"/>'


def line(x: float, y: float, to_x: float, to_y: float, kind: str = "line") -> str:
    """Return a straight line."""
    return f'<path class="{kind}" d="M{x:g} {y:g}L{to_x:g} {to_y:g}"/>'


def arrow(x: float, y: float, length: float = 24) -> str:
    """Return an arrow to the right that begins at x and y."""
    return f'<path class="line" stroke-width="2" d="M{x:g} {y:g}h{length:g}m-7 -6l7 6l-7 6"/>'


def moved(x: float, y: float, parts: list[str]) -> list[str]:
    """Return the parts, moved by x and y."""
    return [f'<g transform="translate({x:g} {y:g})">', *parts, "</g>"]


def labelled_box(x: float, y: float, width: float, height: float, words: str, radius: float = 6) -> list[str]:
    """Return a box with words in its middle."""
    return [box(x, y, width, height, radius), text(x + width / 2, y + height / 2 + 4, words)]
