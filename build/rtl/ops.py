"""FINN custom ops for the kernels, in FINN's own RTL domain; `build/rtl/registry.py` lists them."""

import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from finn.custom_op.fpgadataflow.elementwise_binary import ElementwiseAdd, ElementwiseMul
from finn.custom_op.fpgadataflow.hwcustomop import HWCustomOp
from finn.custom_op.fpgadataflow.labelselect import LabelSelect
from finn.custom_op.fpgadataflow.pool import Pool
from finn.custom_op.fpgadataflow.rtlbackend import RTLBackend
from finn.custom_op.fpgadataflow.streamingdatawidthconverter import StreamingDataWidthConverter
from finn.custom_op.fpgadataflow.vectorvectoractivation import VVAU
from qonnx.core.datatype import BaseDataType
from qonnx.core.modelwrapper import ModelWrapper

from build.rtl.kernel import Kernel, memory_image, read_memory_image, wrapper
from build.rtl.kernels import (
    Argmax,
    ChannelAdd,
    ChannelMul,
    DepthwiseVVU,
    WidthConverter,
    WindowMax,
)

RTL_DOMAIN = "finn.custom_op.fpgadataflow.rtl"
MEMORY_FILE = "memblock.dat"


def is_plain_integer(datatype: BaseDataType) -> bool:
    """Whether a QONNX datatype is two's complement or unsigned binary as it stands."""
    return datatype.is_integer() and datatype.name not in ("BIPOLAR",)


class KernelOp(RTLBackend):
    """A FINN node that one of our kernels implements.

    Mix it in before FINN's abstract op. The subclass says which kernel, which constants, and when
    the kernel cannot do the node.
    """

    def kernel(self) -> Kernel:
        """Return the kernel with this node's parameters."""
        raise NotImplementedError

    def constants(self, model: ModelWrapper) -> np.ndarray:
        """Return the constants (memory_depth, memory.lanes) of a kernel that has a memory."""
        raise NotImplementedError

    @staticmethod
    def obstacle(node: HWCustomOp, model: ModelWrapper) -> str:
        """Return why the kernel cannot implement the (abstract or HLS) node; empty if it can."""
        raise NotImplementedError

    @classmethod
    def abstract(cls) -> type[HWCustomOp]:
        """Return FINN's op class that this one implements."""
        return cls.__bases__[1]

    def get_nodeattr_types(self) -> dict[str, Any]:
        """Return the attributes of FINN's op and of its RTL backend."""
        return self.abstract().get_nodeattr_types(self) | RTLBackend.get_nodeattr_types(self)

    def execute_node(self, context: dict[str, np.ndarray], graph: Any) -> None:
        """Execute in Python (exec_mode "" or "cppsim") or in the RTL simulator ("rtlsim")."""
        if self.get_nodeattr("exec_mode") != "rtlsim":
            self.abstract().execute_node(self, context, graph)
            return
        kernel, node = self.kernel(), self.onnx_node
        io: dict[str, dict[str, list[int]]] = {"inputs": {}, "outputs": {}}
        for index, (name, stream) in enumerate(zip(node.input, kernel.inputs, strict=False)):
            words = context[name].astype(np.int64).reshape(-1, stream.lanes)
            packed = [int.from_bytes(row.tobytes(), "little") for row in stream.pack(words)]
            io["inputs"][f"in{index}"] = packed
        io["outputs"] = {f"out{index}": [] for index in range(len(kernel.outputs))}
        simulator = self.get_rtlsim()
        self.reset_rtlsim(simulator)
        self.rtlsim_multi_io(simulator, io)
        self.close_rtlsim(simulator)
        for index, (name, stream) in enumerate(zip(node.output, kernel.outputs, strict=True)):
            size = stream.width // 8
            found = io["outputs"][f"out{index}"]
            data = b"".join(int(word).to_bytes(size, "little") for word in found)
            result = stream.unpack(np.frombuffer(data, np.uint8).reshape(-1, size))
            shape = self.get_normal_output_shape(index)
            context[name] = result.astype(np.float32).reshape(shape)

    def generate_hdl(self, model: ModelWrapper, fpgapart: str, clk: float) -> None:
        """Write the wrapper, the kernel's source and the constant memory to the node's folder."""
        folder = Path(self.get_nodeattr("code_gen_dir_ipgen"))
        name = self.get_verilog_top_module_name()
        kernel = self.kernel()
        memory = folder / MEMORY_FILE
        if kernel.memory is not None:
            memory.write_text(memory_image(kernel.memory, self.constants(model)))
        (folder / f"{name}.v").write_text(wrapper(kernel, name, str(memory)))
        shutil.copy(kernel.source, folder)
        self.set_nodeattr("gen_top_module", name)
        # FINN's stitching looks for a node's generated IP here.
        self.set_nodeattr("ipgen_path", str(folder))
        self.set_nodeattr("ip_path", str(folder))

    def get_rtl_file_list(self, abspath: bool = False) -> list[str]:
        """Return the kernel's source and the wrapper, the top module's file last."""
        files = [self.kernel().source.name, f"{self.get_nodeattr('gen_top_module')}.v"]
        if not abspath:
            return files
        return [str(Path(self.get_nodeattr("code_gen_dir_ipgen")) / file) for file in files]

    def code_generation_ipi(self) -> list[str]:
        """Return the Tcl that puts the node into a Vivado block design."""
        module, name = self.get_nodeattr("gen_top_module"), self.onnx_node.name
        return [
            *(f"add_files -norecurse {file}" for file in self.get_rtl_file_list(abspath=True)),
            f"create_bd_cell -type module -reference {module} {name}",
        ]

    def lut_estimation(self, fpgapart: str) -> int:
        """Estimated LUTs."""
        return self.kernel().resources().lut

    def dsp_estimation(self, fpgapart: str) -> int:
        """Estimated DSP slices."""
        return self.kernel().resources().dsp

    def bram_estimation(self, fpgapart: str) -> int:
        """Estimated 18-kbit block RAMs."""
        return self.kernel().resources().bram18

    def uram_estimation(self, fpgapart: str) -> int:
        """Kernels use no UltraRAM."""
        return 0


class VVAU_rtl(KernelOp, VVAU):  # noqa: N801 - FINN's name for the RTL variant
    """Depthwise vector-vector unit on every part, not only on Versal's DSP58."""

    def kernel(self) -> DepthwiseVVU:
        """Return the depthwise kernel."""
        activations, weights = self.get_input_datatype(0), self.get_input_datatype(1)
        result = self.get_output_datatype()
        return DepthwiseVVU(
            channels=self.get_nodeattr("Channels"),
            taps=int(np.prod(self.get_nodeattr("Kernel"))),
            positions=int(np.prod(self.get_nodeattr("Dim"))),
            pe=self.get_nodeattr("PE"),
            simd=self.get_nodeattr("SIMD"),
            input_bits=activations.bitwidth(),
            input_signed=activations.signed(),
            weight_bits=weights.bitwidth(),
            weight_signed=weights.signed(),
            output_bits=result.bitwidth(),
            output_signed=result.signed(),
            ram_style=self.get_nodeattr("ram_style"),
        )

    def constants(self, model: ModelWrapper) -> np.ndarray:
        """Return the weights as FINN writes them to memblock.dat for a VVAU_rtl."""
        file = Path(self.get_nodeattr("code_gen_dir_ipgen")) / MEMORY_FILE
        weights = model.get_initializer(self.onnx_node.input[1])
        self.make_weight_file(weights, "decoupled_verilog_dat", str(file))
        return read_memory_image(self.kernel().memory, file.read_text())

    @staticmethod
    def obstacle(node: HWCustomOp, model: ModelWrapper) -> str:
        """Explain why the depthwise kernel cannot do the node; empty if it can."""
        if not node.get_nodeattr("noActivation"):
            return "its activation is fused: keep the thresholds a layer of their own"
        if node.get_nodeattr("mem_mode") == "external":
            return "its weights are external"
        if node.get_nodeattr("runtime_writeable_weights"):
            return "its weights are writable at run time"
        if node.get_nodeattr("ram_style") == "ultra":
            return "UltraRAM cannot be initialised"
        types = [node.get_input_datatype(0), node.get_input_datatype(1), node.get_output_datatype()]
        if not all(map(is_plain_integer, types)):
            return f"it does not compute with integers: {[t.name for t in types]}"
        return ""


class Pool_rtl(KernelOp, Pool):  # noqa: N801
    """Max pooling behind a depthwise sliding window generator."""

    def kernel(self) -> WindowMax:
        """Return the window maximum kernel."""
        datatype = self.get_input_datatype()
        return WindowMax(
            channels=self.get_nodeattr("Channels"),
            window=int(np.prod(self.get_nodeattr("KernelSize"))),
            positions=int(np.prod(self.get_nodeattr("OutImgDims"))),
            pe=self.get_nodeattr("PE"),
            bits=datatype.bitwidth(),
            signed=datatype.signed(),
        )

    def execute_node(self, context: dict[str, np.ndarray], graph: Any) -> None:
        """Execute with the element order of the hardware.

        FINN's own Python code takes the window innermost but one; the RTL window generator (and
        its Python model once it is specialised) delivers channel fold, tap, PE lane.
        """
        if self.get_nodeattr("exec_mode") == "rtlsim":
            super().execute_node(context, graph)
            return
        kernel, node = self.kernel(), self.onnx_node
        words = context[node.input[0]].reshape(-1, kernel.pe)
        result = kernel.reference(words).reshape(self.get_normal_output_shape())
        context[node.output[0]] = result.astype(np.float32)

    @staticmethod
    def obstacle(node: HWCustomOp, model: ModelWrapper) -> str:
        """Explain why the window maximum kernel cannot do the node; empty if it can."""
        if node.get_nodeattr("Function") != "MaxPool":
            return f"its function is {node.get_nodeattr('Function')}, not MaxPool"
        if not is_plain_integer(node.get_input_datatype()):
            return f"its data is {node.get_input_datatype().name}, not integer"
        return ""


class LabelSelect_rtl(KernelOp, LabelSelect):  # noqa: N801
    """Index of the largest logit."""

    def kernel(self) -> Argmax:
        """Return the argmax kernel."""
        datatype = self.get_input_datatype()
        return Argmax(
            labels=self.get_nodeattr("Labels"),
            pe=self.get_nodeattr("PE"),
            bits=datatype.bitwidth(),
            signed=datatype.signed(),
            index_bits=self.get_output_datatype().bitwidth(),
            vectors=int(np.prod(self.get_nodeattr("numInputVectors"))),
        )

    @staticmethod
    def obstacle(node: HWCustomOp, model: ModelWrapper) -> str:
        """Explain why the argmax kernel cannot do the node; empty if it can."""
        if node.get_nodeattr("K") != 1:
            return f"it wants the {node.get_nodeattr('K')} best labels, not one"
        if not is_plain_integer(node.get_input_datatype()):
            return f"its data is {node.get_input_datatype().name}, not integer"
        return ""


class StreamingDataWidthConverter_rtl(KernelOp, StreamingDataWidthConverter):  # noqa: N801
    """Width converter at a fraction of the LUTs of FINN's barrel shifters."""

    def kernel(self) -> WidthConverter:
        """Return the width converter kernel."""
        datatype = self.get_input_datatype()
        bits = datatype.bitwidth()
        return WidthConverter(
            elements=int(np.prod(self.get_normal_input_shape())),
            bits=bits,
            signed=datatype.signed(),
            lanes_in=self.get_instream_width() // bits,
            lanes_out=self.get_outstream_width() // bits,
        )

    def get_exp_cycles(self) -> int:
        """Return cycles a frame; FINN's own converter reports none."""
        return self.kernel().cycles()

    @staticmethod
    def obstacle(node: HWCustomOp, model: ModelWrapper) -> str:
        """Explain why the width converter cannot do the node; empty if it can."""
        bits = node.get_input_datatype().bitwidth()
        elements = int(np.prod(node.get_normal_input_shape()))
        for width in (node.get_instream_width(), node.get_outstream_width()):
            if width % bits or elements % (width // bits):
                return f"a frame of {elements} x {bits} bits is no whole number of words"
        return ""


class ChannelOp(KernelOp):
    """Integer constant and stream, channel by channel: FINN's elementwise with a constant side."""

    computes: ClassVar[type[ChannelAdd]]

    def kernel(self) -> ChannelAdd:
        """Return the channel-wise kernel."""
        data, constant = _data_and_constant(self)
        a, c = self.get_input_datatype(data), self.get_input_datatype(constant)
        shape = self.get_normal_output_shape()
        return self.computes(
            channels=int(shape[-1]),
            positions=int(np.prod(shape[:-1])),
            pe=self.get_nodeattr("PE"),
            input_bits=a.bitwidth(),
            input_signed=a.signed(),
            constant_bits=c.bitwidth(),
            constant_signed=c.signed(),
            output_bits=self.get_output_datatype().bitwidth(),
            output_signed=self.get_output_datatype().signed(),
            ram_style=self.get_nodeattr("ram_style"),
        )

    def constants(self, model: ModelWrapper) -> np.ndarray:
        """Return the constants, one a channel, folded."""
        kernel = self.kernel()
        values = model.get_initializer(self.onnx_node.input[_data_and_constant(self)[1]])
        values = np.broadcast_to(np.asarray(values).reshape(-1), (kernel.channels,))
        return values.astype(np.int64).reshape(kernel.folds, kernel.pe)

    @staticmethod
    def obstacle(node: HWCustomOp, model: ModelWrapper) -> str:
        """Explain why the channel-wise kernel cannot do the node; empty if it can."""
        inputs = node.onnx_node.input
        constant = [model.get_initializer(name) is not None for name in inputs]
        if constant != [False, True]:
            return "it has no constant on its right-hand side"
        types = [node.get_input_datatype(0), node.get_input_datatype(1), node.get_output_datatype()]
        if not all(map(is_plain_integer, types)):
            return f"it does not compute with integers: {[t.name for t in types]}"
        channels = int(node.get_normal_output_shape()[-1])
        size = model.get_initializer(inputs[1]).size
        if size not in (1, channels):
            return f"it has {size} constants for {channels} channels"
        if list(node.get_normal_input_shape(0)) != list(node.get_normal_output_shape()):
            return "it broadcasts its input"
        return ""


class ChannelAdd_rtl(ChannelOp, ElementwiseAdd):  # noqa: N801
    """Integer constant added to every channel."""

    computes = ChannelAdd


class ChannelMul_rtl(ChannelOp, ElementwiseMul):  # noqa: N801
    """Every channel multiplied by an integer constant."""

    computes = ChannelMul


def _data_and_constant(node: Any) -> tuple[int, int]:
    """Return which input is the stream and which the constant."""
    return (0, 1) if node.get_nodeattr("lhs_style") == "input" else (1, 0)
