"""A model -> ONNX: frames float32 [batch, P, H, W] -> class scores float32 [batch, classes]."""

import json

from src.export.description import mark_of
from src.export.exported import Export, ExportedModel
from src.models.frame_model import FrameModel
from src.models.onnx_graph import Graph

OPSET = 13  # the oldest in which the axes of ReduceSum are an input, so that old programs read the file
IR_VERSION = 7  # the version that goes with the opset


def export(exported: ExportedModel) -> Export:
    """Return the ONNX file of a model."""
    content = to_onnx(exported.model, exported.name, list(exported.class_names), exported.source)
    what = f"the {exported.config.model.model_type} of step {exported.step}"
    return Export({f"{exported.name}.onnx": content}, what)


def to_onnx(model: FrameModel, name: str, class_names: list[str], source: str = "") -> bytes:
    """Return the content of the file, which computes the scores that the model has in eval mode.

    Raises:
        UserError: if the package onnx cannot be imported, the file would be too large, or the model has no ONNX.
    """
    graph = Graph()
    graph.add("Identity", [model.add_to_onnx(graph)], output="scores")
    onnx = graph.onnx
    float32 = onnx.TensorProto.FLOAT
    content = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            name,
            [onnx.helper.make_tensor_value_info("frames", float32, ["batch", *model.frame_shape])],
            [onnx.helper.make_tensor_value_info("scores", float32, ["batch", model.num_classes])],
            graph.constants,
        ),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="DiffLogic Tonic",
    )
    onnx.helper.set_model_props(content, {"class_names": json.dumps(class_names), "source": mark_of(source)})
    onnx.checker.check_model(content)
    return content.SerializeToString()
