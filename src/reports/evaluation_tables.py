"""An evaluation as text: a summary for the terminal, and all its tables for a file."""

from typing import Any

from src.evaluation.metrics import DEBUG
from src.helpers import format_percent, format_table

UNITS = ("frames", "recordings")
MOST_CLASSES_IN_A_MATRIX = 20  # if there are more, the commonest confusions stand in its place
MOST_NAMED = 3  # classes and confusions of the summary


def evaluation_summary(content: dict[str, Any]) -> str:
    """Return what an evaluation, as its JSON file holds it, comes to: accuracies, and what is confused most."""
    title = "{model} model of job {job_id} ({model_type}, step {step}) on {split} of {cache}".format(**content)
    rows = [
        [kind or content["model_type"], f"{part['loss']:.4f}"]
        + [format_percent(part[unit][name]) for unit in UNITS for name in ("accuracy", "macro_f1")]
        + [format_percent(part["recordings"].get("vote_accuracy"))]
        for kind, part in _kinds(content).items()
    ]
    header = ["", "loss", *(title for unit in UNITS for title in (f"{unit}, %", "macro F1, %")), "by vote, %"]
    parts = [title, *([content[DEBUG]] if DEBUG in content else []), format_table(header, rows)]
    parts.append("\n".join(_hardest(content["recordings"], content["class_names"])))
    return "\n\n".join(part for part in parts if part) + "\n"


def evaluation_tables(content: dict[str, Any]) -> str:
    """Return the summary, then precision, recall, F1 and confusions of every class, per frame and per recording."""
    parts = [evaluation_summary(content)]
    for kind, part in _kinds(content).items():
        for unit in UNITS:
            parts.append(f"{part[unit]['count']:,} {unit}{', ' + kind if kind else ''}, by class\n")
            rows = [
                [
                    row["name"],
                    *(format_percent(row[name]) for name in ("precision", "recall", "f1")),
                    f"{row['support']:,}",
                ]
                for row in part[unit]["classes"]
            ]
            parts.append(format_table(["%", "precision", "recall", "F1", "support"], rows) + "\n")
            parts.append(_confusion(part[unit]["confusion"], content["class_names"], unit) + "\n")
    return "\n".join(parts)


def _kinds(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the parts of an evaluation by the name of the network's form; the name is empty if there is one only."""
    return {"discretised": content, "relaxed": content["relaxed"]} if "relaxed" in content else {"": content}


def _hardest(part: dict[str, Any], names: list[str]) -> list[str]:
    """Return lines with the classes of the lowest F1 and the commonest confusions, of recordings."""
    f1 = sorted((row["f1"], row["name"]) for row in part["classes"] if row["f1"] is not None and row["f1"] < 1)
    lines = []
    if f1:
        lowest = ", ".join(f"{name} ({format_percent(value)} %)" for value, name in f1[:MOST_NAMED])
        lines.append(f"lowest F1 of recordings: {lowest}")
    wrong = [entry for entry in _confusions(part["confusion"], names) if entry[0] > 1][:MOST_NAMED]
    if wrong:
        confused = ", ".join(f"{true} as {predicted} ({count})" for count, true, predicted in wrong)
        lines.append(f"commonest confusions of recordings: {confused}")
    return lines


def _confusion(confusion: list[list[int]], names: list[str], unit: str) -> str:
    if len(names) <= MOST_CLASSES_IN_A_MATRIX:
        rows = [[name, *map(str, row)] for name, row in zip(names, confusion, strict=True)]
        return format_table([f"{unit}: true (down), predicted (across)", *names], rows)
    commonest = _confusions(confusion, names)[:MOST_CLASSES_IN_A_MATRIX]
    rows = [[true, predicted, str(count)] for count, true, predicted in commonest]
    return format_table(["commonest confusions: true", "predicted", unit], rows)


def _confusions(confusion: list[list[int]], names: list[str]) -> list[tuple[int, str, str]]:
    """Return (count, true class, predicted class) of what was confused, the commonest first."""
    wrong = [
        (count, names[true], names[predicted])
        for true, row in enumerate(confusion)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    return sorted(wrong, key=lambda entry: -entry[0])
