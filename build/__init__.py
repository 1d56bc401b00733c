"""The FINN flow: from QONNX to an accelerator package."""
