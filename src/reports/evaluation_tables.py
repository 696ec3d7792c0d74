"""An evaluation as text for the terminal."""

from typing import Any

from src.evaluation.metrics import DEBUG
from src.helpers import format_percent, format_table

MOST_PRINTED_CLASSES = 20  # in a confusion matrix; if there are more, the commonest confusions are printed


def evaluation_tables(content: dict[str, Any]) -> str:
    """Return an evaluation, as its JSON file holds it, as plain-text tables."""
    title = "{model} model of job {job_id} ({model_type}, step {step}) on {split} of {cache}".format(**content)
    kinds = {"discretised": content, "relaxed": content["relaxed"]} if "relaxed" in content else {"": content}
    summary = [
        [kind or content["model_type"], f"{part['loss']:.4f}"]
        + [format_percent(part[unit][name]) for unit in ("frames", "recordings") for name in ("accuracy", "macro_f1")]
        for kind, part in kinds.items()
    ]
    header = ["%", "loss", "frames", "macro F1", "recordings", "macro F1"]
    parts = [title, *([content[DEBUG]] if DEBUG in content else []), format_table(header, summary)]
    for kind, part in kinds.items():
        for unit in ("frames", "recordings"):
            parts.append(f"{part[unit]['count']:,} {unit}{', ' + kind if kind else ''}, by class")
            rows = [
                [
                    row["name"],
                    *(format_percent(row[name]) for name in ("precision", "recall", "f1")),
                    f"{row['support']:,}",
                ]
                for row in part[unit]["classes"]
            ]
            parts.append(format_table(["%", "precision", "recall", "F1", "support"], rows))
            parts.append(_confusion(part[unit]["confusion"], content["class_names"], unit))
    return "\n\n".join(parts) + "\n"


def _confusion(confusion: list[list[int]], names: list[str], unit: str) -> str:
    if len(names) <= MOST_PRINTED_CLASSES:
        rows = [[name, *map(str, row)] for name, row in zip(names, confusion, strict=True)]
        return format_table([f"{unit}: true (down), predicted (across)", *names], rows)
    wrong = [
        (count, names[true], names[predicted])
        for true, row in enumerate(confusion)
        for predicted, count in enumerate(row)
        if count and true != predicted
    ]
    wrong.sort(key=lambda entry: -entry[0])
    rows = [[true, predicted, str(count)] for count, true, predicted in wrong[:MOST_PRINTED_CLASSES]]
    return format_table(["commonest confusions: true", "predicted", unit], rows)
