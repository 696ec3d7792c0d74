"""README and the pages under docs/, and the blocks of code in them.

A block of `bash` is run by a test, in the order of these pages. A block of `sh` needs a cluster, another tool or more
time than a test has; its commands are only read.
"""

import re

from tests.small_job import REPOSITORY

THESE_TESTS = "./test.sh"  # the one command that is not run
# In the order in which a newcomer reads them; all other pages follow.
FIRST = ["README.md", "docs/getting_started.md", "docs/nmnist.md", "docs/data.md", "docs/training.md"]
FIRST += ["docs/evaluation.md", "docs/export.md"]
OTHERS = sorted(f"docs/{path.name}" for path in REPOSITORY.glob("docs/*.md"))
PAGES = {name: (REPOSITORY / name).read_text(encoding="utf-8") for name in dict.fromkeys([*FIRST, *OTHERS])}


def blocks(language, *names):
    """The blocks of a language in these pages, or in all, without the indentation of a list."""
    found = []
    for name in names or PAGES:
        for indent, block in re.findall(rf"^( *)```{language}\n(.*?)^ *```$", PAGES[name], re.DOTALL | re.MULTILINE):
            found.append("".join(line.removeprefix(indent) for line in block.splitlines(keepends=True)))
    return found


def commands(language, *names):
    """The lines of the blocks, each once."""
    return list(dict.fromkeys(line for block in blocks(language, *names) for line in block.splitlines()))
