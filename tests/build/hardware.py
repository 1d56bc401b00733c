"""Take the small network through FINN to generated HDL, as the flow does."""

from qonnx.custom_op.registry import getCustomOp
from qonnx.transformation.general import GiveUniqueNodeNames

ZCU104 = "xczu7ev-ffvc1156-2-e"


def generate(model, part=ZCU104, fold=lambda model: None, fifo_depth=2, deep_fifos=None):
    """Return the model specialised, folded, with converters and FIFOs, and with HDL."""
    from finn.transformation.fpgadataflow.insert_dwc import InsertDWC
    from finn.transformation.fpgadataflow.insert_fifo import InsertFIFO
    from finn.transformation.fpgadataflow.prepare_ip import PrepareIP

    from build.rtl.specialize import SpecializeForRTL

    deep_fifos = deep_fifos or {}
    model = model.transform(SpecializeForRTL(part))
    fold(model)
    for node in model.graph.node:
        op = getCustomOp(node)
        op.set_nodeattr("inFIFODepths", [fifo_depth])
        op.set_nodeattr("outFIFODepths", [fifo_depth])
    model = model.transform(InsertDWC())
    model = model.transform(InsertFIFO(create_shallow_fifos=True))
    model = model.transform(SpecializeForRTL(part))
    model = model.transform(GiveUniqueNodeNames())
    for name, depth in deep_fifos.items():
        getCustomOp(model.get_node_from_name(name)).set_nodeattr("depth", depth)
    return model.transform(PrepareIP(part, 4.0))


def fold(model):
    """Fold the small network unevenly, so that converters of several ratios are needed."""
    wanted = {
        "VVAU": {"PE": 2}, "Pool": {"PE": 2}, "Thresholding": {"PE": 1}, "LabelSelect": {"PE": 3},
        "ElementwiseAdd": {"PE": 2}, "ChannelAdd": {"PE": 2},
    }  # fmt: skip
    mvau = iter([{"PE": 4, "SIMD": 4}, {"PE": 1, "SIMD": 4}, {"PE": 3, "SIMD": 2}])
    for node in model.graph.node:
        op = getCustomOp(node)
        kind = node.op_type.removesuffix("_rtl")
        values = dict(next(mvau)) if kind == "MVAU" else wanted.get(kind, {})
        if kind == "ConvolutionInputGenerator" and op.get_nodeattr("depthwise"):
            values = {"SIMD": 2}
        for key, value in values.items():
            op.set_nodeattr(key, value)


def simulated():
    """Return what simulating four frames might have come to."""
    from build.simulation.simulated import Simulated

    return Simulated(
        network="small",
        board="ZCU104",
        frames=4,
        mismatches=0,
        accuracy=0.5,
        output="class",
        cycles_per_frame=1031.5,
        estimated_cycles_per_frame=1028,
        latency_cycles=4022,
        clock_mhz=250.0,
        stall=0.0,
        fast=False,
        fifos=(),
        build_seconds=0.0,
        simulation_seconds=2.0,
    )
