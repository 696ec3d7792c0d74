"""The build backend of pyproject.toml: it refuses to build a package, and says how the project is used instead.

src/ is a folder of the repository, not a package of the project's name. Without this file, pip would install its
modules as `config`, `data` and so on.
"""

import sys
from typing import Any, NoReturn

MESSAGE = (
    "difflogic-tonic is not a package to install. Use it from its folder: ./train.sh makes an environment for it, or "
    "install requirements.lock into one of your own (see README.md)."
)


def _refuse(*arguments: Any, **settings: Any) -> NoReturn:
    sys.exit(MESSAGE)


# The hooks that pip, build and uv call first or alone.
get_requires_for_build_wheel = get_requires_for_build_editable = get_requires_for_build_sdist = _refuse
prepare_metadata_for_build_wheel = prepare_metadata_for_build_editable = _refuse
build_wheel = build_editable = build_sdist = _refuse
