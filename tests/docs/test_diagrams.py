"""The diagrams under docs/ are what helper_scripts/diagrams.py draws, and a phone can show them."""

import xml.etree.ElementTree

import pytest

from helper_scripts.diagrams import DIAGRAMS, DOCS, drawing
from tests.docs.pages import PAGES

WIDEST = 500  # pixels: on a phone, letters are then at least three quarters of their size
LARGEST_FILE = 100_000  # characters


def test_every_diagram_of_the_pages_is_drawn():
    assert {path.stem for path in DOCS.glob("*.svg")} == set(DIAGRAMS)


@pytest.mark.parametrize("name", DIAGRAMS)
def test_a_diagram_is_up_to_date(name):
    assert (DOCS / f"{name}.svg").read_text() == drawing(name), "run python -m helper_scripts.diagrams"


@pytest.mark.parametrize("name", DIAGRAMS)
def test_a_diagram_is_small_well_formed_and_shown(name):
    text = (DOCS / f"{name}.svg").read_text()
    assert int(xml.etree.ElementTree.fromstring(text).attrib["width"]) <= WIDEST
    assert len(text) < LARGEST_FILE
    assert any(f"{name}.svg)" in page for page in PAGES.values())
