"""Explain options in words: as YAML with comments, and as the tables of a reference page."""

import textwrap
from collections.abc import Collection
from typing import Any

from src.options.checks import all_needs
from src.options.machine import Field, find, is_section, option_type, options_of, plain, value_of
from src.options.yaml_text import dump_yaml

WIDTH = 100  # characters of a line


def explain(config: Any, key: str | None = None) -> str:
    """Return a config's options, or one section or option, as YAML in which comments say what each is.

    Raises:
        UserError: if there is no such key; it names the nearest one.
    """
    if key is not None:
        find(config, key)
    lines: list[str] = []
    _explain(config, config, "", key, frozenset(), lines)
    return "\n".join(lines)


def _explain(root: Any, section: Any, prefix: str, wanted: str | None, known: frozenset[str], lines: list[str]) -> None:
    """Add the lines of a section; `known` is what the sections around it have said that they need."""
    indent = "  " * prefix.count(".")
    for name, value in vars(section).items():
        key = prefix + name
        inside = wanted is None or f"{key}.".startswith(f"{wanted}.")  # what is wanted, or a part of it
        if not inside and not f"{wanted}.".startswith(f"{key}."):
            continue
        if is_section(value):
            comment = [purpose(value), *needs_in_words(root, key, known)] if inside else []
        else:
            comment = describe(root, key, known)
        lines += textwrap.wrap(" ".join(comment), WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        if is_section(value):
            lines.append(f"{indent}{name}:")
            said = known | {need.words for need in all_needs(root, key)} if inside else known
            _explain(root, value, f"{key}.", wanted, said, lines)
        else:
            lines.append(f"{indent}{name}: {yaml_value(value)}")


def describe(config: Any, key: str, known: Collection[str] = ()) -> list[str]:
    """Return sentences that say what an option is, which values it takes and when it counts, but for known needs."""
    section, field = find(config, key)
    help_text = field.metadata["help_text"]
    sentences = [
        f"{help_text[0].upper()}{help_text[1:]}.",
        f"{values(section, field)}.",
        *needs_in_words(config, key, known),
    ]
    if field.metadata["may_change"]:
        sentences.append("May change on resume.")
    return sentences


def purpose(section: Any) -> str:
    """Return what a section is for: the first line of its docstring."""
    return (type(section).__doc__ or "").split("\n")[0]


def needs_in_words(config: Any, key: str, known: Collection[str] = ()) -> list[str]:
    """Return a sentence that says what an option, or a section, needs to count beside what is known, if anything."""
    needs = dict.fromkeys(need.words for need in all_needs(config, key) if need.words not in known)
    return [f"Only with {' and '.join(needs)}."] if needs else []


def values(section: Any, field: Field) -> str:
    """Return which values an option takes: names, or its type, unit and limits."""
    facts = field.metadata
    if facts.get("choices") is not None:
        return f"One of {', '.join(facts['choices'])}"
    kind = str(option_type(section, field))
    words = "Text"
    if "tuple" in kind:
        words = "Whole numbers in brackets"
    elif "bool" in kind:
        words = "true or false"
    elif "float" in kind:
        words = "Number"
    elif "int" in kind:
        words = "Whole number"
    elif facts["path"]:
        words = "Path"
    if facts.get("unit"):
        words += f" of {facts['unit']}"
    signs = {"least": "at least", "above": "above", "most": "at most", "below": "below"}
    limits = [f"{sign} {_number(facts[name])}" for name, sign in signs.items() if facts.get(name) is not None]
    words = ", ".join([words, *limits])
    return f"{words}; or null" if "None" in kind else words


def _number(limit: Any) -> str:
    return limit if isinstance(limit, str) else f"{limit:,}"


def yaml_value(value: Any) -> str:
    """Return a default as YAML has it, on one line."""
    if isinstance(value, tuple):
        return plain(value)
    return dump_yaml(value).removesuffix("...\n").strip()


def reference(config: Any) -> str:
    """Return a table of options in Markdown for each section that has any."""
    parts: list[str] = []
    for key in _sections(config):
        section = value_of(config, key)
        options = [f"{key}.{name}" for name, value in vars(section).items() if not is_section(value)]
        if not options:
            continue
        parts += [f"## {key}", "", " ".join([purpose(section), *needs_in_words(config, key)]), ""]
        parts += ["| option | default | meaning | values |", "|---|---|---|---|"]
        own = {need.words for need in all_needs(config, key)}
        parts += [_row(config, option, own) for option in options]
        parts.append("")
    return "\n".join(parts)


def _sections(config: Any) -> list[str]:
    keys: dict[str, None] = {}
    for key, _, _ in options_of(config):
        names = key.split(".")[:-1]
        keys |= dict.fromkeys(".".join(names[:i]) for i in range(1, len(names) + 1))
    return list(keys)


def _row(config: Any, key: str, known: set[str]) -> str:
    """Return an option's row; what its whole section needs is not said again."""
    meaning, allowed, *others = describe(config, key, known)
    default = yaml_value(value_of(config, key))
    return f"| `{key}` | `{default}` | {' '.join([meaning, *others])} | {allowed.rstrip('.')} |"
