"""What the streams between the layers need: width converters and FIFOs."""

from finn.builder.build_dataflow_config import DataflowBuildConfig
from finn.transformation.fpgadataflow.insert_dwc import InsertDWC
from finn.transformation.fpgadataflow.insert_fifo import InsertFIFO
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.general import GiveReadableTensorNames, GiveUniqueNodeNames

from build.rtl.specialize import SpecializeForRTL


def step_insert_streams(model: ModelWrapper, cfg: DataflowBuildConfig) -> ModelWrapper:
    """Insert converters where widths differ and a FIFO of the least depth on every stream."""
    model = model.transform(InsertDWC())
    model = model.transform(InsertFIFO(create_shallow_fifos=True))
    model = model.transform(SpecializeForRTL(cfg._resolve_fpga_part()))
    return model.transform(GiveUniqueNodeNames()).transform(GiveReadableTensorNames())
