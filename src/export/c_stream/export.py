"""The files NAME_stream of an exported model."""

from src.command_line import UserError
from src.export.c_stream.design import design_of
from src.export.c_stream.examples import stream_examples
from src.export.c_stream.self_test import self_test
from src.export.c_stream.source import to_stream_c
from src.export.exported import ExportedModel
from src.helpers import LOG


def stream_files(exported: ExportedModel) -> dict[str, str]:
    """Return the program that classifies events while they come, by file name; {}, after a log line, if none can."""
    try:
        design = design_of(exported)
    except UserError as error:
        LOG.info("without %s_stream, which takes events: %s", exported.name, error)
        return {}
    return {**to_stream_c(design), **self_test(design, stream_examples(exported, design))}
