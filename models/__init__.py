"""Networks, quantizers, QONNX export, inference cost and the trained checkpoints."""
