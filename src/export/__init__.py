"""A trained model as files for other tools: C, Verilog, ONNX and JSON; and the size that Yosys gives a circuit."""
