"""Write docs/configuration.md, the reference of all options: python -m helper_scripts.configuration_page."""

from pathlib import Path

from src.config import Config
from src.options.explain import reference

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
BEGINNING = """# Configuration

<!-- Written by `python -m helper_scripts.configuration_page` from src/config.py: change that file, not this one. -->

A config gives what differs from these defaults. `--override "train.epochs=10 model.difflogic.tau=20"` changes it on the
command line, and `./train.sh --explain [KEY]` prints these tables, one section or one option.

- A key that does not exist is an error that names the nearest one.
- An option that is set and has no effect is named in a warning.
- Names that are chosen from a list ignore case.
- Numbers are those of YAML 1.2: `010` is 10.
- In paths, a leading `~` is your home folder, and `$NAME` and `${NAME}` come from the environment.
- A job may be resumed with another value only of options that say so.

"""


def page() -> str:
    """Return the page's text."""
    return BEGINNING + reference(Config()).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
