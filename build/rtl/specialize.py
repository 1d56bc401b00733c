"""Choose RTL for every node: our kernels where FINN has only HLS, FINN's own RTL elsewhere."""

import numpy as np
from finn.builder.build_dataflow_config import DataflowBuildConfig
from finn.transformation.fpgadataflow.specialize_layers import SpecializeLayers
from finn.util.basic import get_dsp_block
from onnx import NodeProto, helper
from qonnx.core.datatype import BaseDataType, DataType
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.custom_op.registry import getCustomOp
from qonnx.transformation.base import Transformation
from qonnx.transformation.general import GiveUniqueNodeNames
from qonnx.transformation.infer_datatypes import InferDataTypes

from build.rtl.ops import RTL_DOMAIN, KernelOp
from build.rtl.registry import KERNEL_OPS, register

register()

ABSTRACT_DOMAIN = "finn.custom_op.fpgadataflow"
HLS_DOMAIN = f"{ABSTRACT_DOMAIN}.hls"
MVAUS = ("MVAU", "MVAU_rtl")


class UseKernels(Transformation):
    """Turn abstract or HLS nodes into the ops of our kernels wherever a kernel can do them.

    Works before or after SpecializeLayers and before or after folding: attributes, folding
    included, carry over, because the ops have FINN's own attributes.
    """

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Replace the nodes; run once."""
        changed = False
        for index, node in enumerate(model.graph.node):
            candidates = _kernel_ops(node)
            able = [op for op in candidates if not op.obstacle(getCustomOp(node), model)]
            if not able:
                # FINN takes any registered RTL variant of a simple layer without asking.
                if f"{node.op_type}_rtl" in [op.__name__ for op in candidates]:
                    getCustomOp(node).set_nodeattr("preferred_impl_style", "hls")
                continue
            op = able[0]
            replaced = helper.make_node(
                op.__name__, node.input, node.output, name=node.name, domain=RTL_DOMAIN
            )
            # The HLS backend has attributes of its own; the preference has been heard.
            kept = op(node).get_nodeattr_types().keys() - {"preferred_impl_style"}
            replaced.attribute.extend(a for a in node.attribute if a.name in kept)
            model.graph.node.remove(node)
            model.graph.node.insert(index, replaced)
            changed = True
        if changed:
            model = model.transform(GiveUniqueNodeNames())
        return model, False


class AdaptWeights(Transformation):
    """Widen weight types just enough for RTL.

    FINN's MVAU wants signed weights of two bits at least, and on DSP48E1 (7 series) a weight range
    without the most negative value. Minimizing bit widths can leave [-16, 15], which a sixth bit
    makes acceptable. It also calls weights that are -1 throughout BIPOLAR, depthwise ones too;
    beside activations of several bits they are integers. Otherwise FINN falls back to HLS.
    """

    def __init__(self, fpgapart: str) -> None:
        """Adapt for this FPGA part."""
        super().__init__()
        self.narrow = get_dsp_block(fpgapart) == "DSP48E1"

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Set weight datatypes and ask for RTL."""
        for node in model.graph.node:
            if node.op_type not in (*MVAUS, "VVAU", "VVAU_rtl"):
                continue
            op = getCustomOp(node)
            weights = model.get_initializer(node.input[1])
            datatype = op.get_input_datatype(1)
            if weights is None or not datatype.is_integer():
                continue
            if datatype.name == "BIPOLAR":
                if op.get_input_datatype(0).name == "BIPOLAR":
                    continue
                datatype = DataType["INT2"]
            wider = self.wider(datatype, weights) if node.op_type in MVAUS else datatype
            if wider != op.get_input_datatype(1):
                op.set_nodeattr("weightDataType", wider.name)
                model.set_tensor_datatype(node.input[1], wider)
            if node.op_type == "MVAU" and op.get_nodeattr("preferred_impl_style") == "":
                op.set_nodeattr("preferred_impl_style", "rtl")
        return model, False

    def wider(self, datatype: BaseDataType, weights: np.ndarray) -> BaseDataType:
        """Return the type that FINN's MVAU takes for weights of a type."""
        if datatype.name == "TERNARY":
            return datatype
        bits = max(datatype.bitwidth() + (not datatype.signed()), 2)
        if self.narrow and np.min(weights) == -(1 << (bits - 1)):
            bits += 1
        return DataType[f"INT{bits}"]


class WidenAccumulators(Transformation):
    """Give every MVAU an accumulator that holds any product of its types.

    FINN's RTL stops the simulation on a narrower one ("too narrow for a 16-bit product", mvu.sv),
    while minimizing bit widths looks at the weights that are there: a few small or positive ones
    need less.
    """

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Set the types of accumulators, of what leaves a layer without thresholds, and behind."""
        changed = False
        for node in model.graph.node:
            if node.op_type not in MVAUS:
                continue
            op = getCustomOp(node)
            activations, weights = op.get_input_datatype(0), op.get_input_datatype(1)
            if "BIPOLAR" in (activations.name, weights.name) or not activations.is_integer():
                continue
            least = weights.bitwidth() + activations.bitwidth() - activations.signed()
            accumulator = DataType[op.get_nodeattr("accDataType")]
            kinds = [accumulator]
            if op.get_nodeattr("noActivation"):
                kinds.append(op.get_output_datatype())
            if min(kind.bitwidth() for kind in kinds) >= least:
                continue
            if not model.find_direct_successors(node):
                least = -(-least // 8) * 8  # as FINN has what leaves the accelerator
            sign = "INT" if accumulator.signed() else "UINT"
            op.set_nodeattr("accDataType", f"{sign}{max(least, accumulator.bitwidth())}")
            if op.get_nodeattr("noActivation"):
                op.set_nodeattr("outputDataType", op.get_nodeattr("accDataType"))
            changed = True
        return (model.transform(InferDataTypes()) if changed else model), False


class SpecializeForRTL(Transformation):
    """FINN's SpecializeLayers with RTL wherever FINN or we have it."""

    def __init__(self, fpgapart: str) -> None:
        """Specialise for this FPGA part."""
        super().__init__()
        self.fpgapart = fpgapart

    def apply(self, model: ModelWrapper) -> tuple[ModelWrapper, bool]:
        """Adapt the weights, use our kernels, and leave the rest to FINN."""
        model = model.transform(AdaptWeights(self.fpgapart))
        model = model.transform(UseKernels())
        model = model.transform(SpecializeLayers(self.fpgapart))
        return model, False


def step_specialize_for_rtl(model: ModelWrapper, cfg: DataflowBuildConfig) -> ModelWrapper:
    """Builder step in place of FINN's step_specialize_layers."""
    return model.transform(SpecializeForRTL(cfg._resolve_fpga_part()))


def step_adapt_types(model: ModelWrapper, cfg: DataflowBuildConfig) -> ModelWrapper:
    """Builder step after FINN's step_minimize_bit_width, which narrows types again."""
    model = model.transform(AdaptWeights(cfg._resolve_fpga_part()))
    return model.transform(WidenAccumulators())


def hls_nodes(model: ModelWrapper) -> dict[str, str]:
    """Return the nodes that are HLS, name -> why no kernel could take them."""
    left = {}
    for node in model.graph.node:
        if node.domain == HLS_DOMAIN:
            reasons = [op.obstacle(getCustomOp(node), model) for op in _kernel_ops(node)]
            left[node.name] = "; ".join(reasons) or f"there is no RTL kernel for {node.op_type}"
    return left


def _kernel_ops(node: NodeProto) -> tuple[type[KernelOp], ...]:
    """Return our ops that may do an abstract or HLS node."""
    if node.domain == ABSTRACT_DOMAIN:
        return KERNEL_OPS.get(node.op_type, ())
    if node.domain == HLS_DOMAIN:
        return KERNEL_OPS.get(node.op_type.removesuffix("_hls"), ())
    return ()
