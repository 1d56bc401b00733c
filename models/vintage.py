"""What older exporters wrote, put the way today's QONNX has it: one small class per habit.

Brevitas 0.2 to 0.6 and FINN before 2022 named the same quantizers differently; the files of the
2021 challenge are like that.
"""

import re

from onnx import helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import get_ops_in_domain
from qonnx.transformation.base import Transformation
from qonnx.transformation.general import RemoveStaticGraphInputs

QONNX = "qonnx.custom_op.general"
OLD_DOMAINS = ("", "onnx.brevitas", "finn", "finn.custom_op.general")
INITIALIZERS_NEED_NO_INPUT = 4  # the first IR version in which weights need not be graph inputs


class ModernDomains(Transformation):
    """Move QONNX's operators out of the domains that they had before, and import every domain."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Rewrite in place; the default domain's import comes first, where qonnx looks for it."""
        known = {name for name, _ in get_ops_in_domain(QONNX)}
        for node in model.graph.node:
            if node.domain in OLD_DOMAINS and node.op_type in known:
                node.domain = QONNX
        imports = {item.domain: item.version for item in model.model.opset_import}
        imports.setdefault(QONNX, imports.get("onnx.brevitas", 1))
        used = sorted({"", *(node.domain for node in model.graph.node)})
        del model.model.opset_import[:]
        model.model.opset_import.extend(
            helper.make_opsetid(domain, imports.get(domain, 1))
            for domain in used
            if domain or domain in imports  # a guess of ONNX's own version might be wrong
        )
        return model, False


class ModernDatatypes(Transformation):
    """Write datatype annotations as today's QONNX reads them: SCALEDINT4 is SCALEDINT<4>."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Rewrite in place."""
        for annotation in model.graph.quantization_annotation:
            for entry in annotation.quant_parameter_tensor_names:
                if entry.key == "finn_datatype":
                    entry.value = re.sub(r"^SCALEDINT(\d+)$", r"SCALEDINT<\1>", entry.value)
        return model, False


class WeightsAreNoInputs(RemoveStaticGraphInputs):
    """Drop weights from the graph's inputs, where IR version 3 wanted them."""

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Rewrite in place."""
        model.model.ir_version = max(model.model.ir_version, INITIALIZERS_NEED_NO_INPUT)
        return super().apply(model)


MODERNISE = (ModernDomains, ModernDatatypes, WeightsAreNoInputs)
