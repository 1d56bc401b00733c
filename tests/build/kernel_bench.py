"""Simulate kernels on their own: many parameter sets in one build, random data and stalls."""

from collections.abc import Mapping, Sequence

import numpy as np

from build.rtl.kernel import Kernel, Stream, memory_image, wrapper
from build.simulation.verilate import Collect, Design, Feed, Port, Result, build, run


def bench(kernels: Mapping[str, Kernel]) -> Design:
    """Return a design with every kernel beside the others: streams `<name>_in0`, `<name>_out0`...

    A kernel with constants reads `<name>.dat` from the working directory.
    """
    ports: list[Port] = []
    declared: list[str] = []
    instances: list[str] = []
    sources: dict[str, str] = {}
    for kernel in kernels.values():
        sources[kernel.source.name] = kernel.source.read_text()
    for name, kernel in kernels.items():
        sources[f"{name}_wrapper.v"] = wrapper(kernel, f"{name}_wrapper", f"{name}.dat")
        connections = [".ap_clk(ap_clk)", ".ap_rst_n(ap_rst_n)"]
        for side, stream in streams(kernel):
            forward, inner = side.rstrip("0123456789") + "put", f"{side}_V"
            port = f"{name}_{side}"
            back = "output" if forward == "input" else "input"
            ports.append(Port(port, stream.width))
            declared += [
                f"{forward} [{stream.width - 1}:0] {port}_TDATA",
                f"{forward} {port}_TVALID",
                f"{back} {port}_TREADY",
            ]
            connections += [f".{inner}_{s}({port}_{s})" for s in ("TDATA", "TVALID", "TREADY")]
        instances.append(f"\t{name}_wrapper {name} ({', '.join(connections)});")
    declarations = ",\n\t".join(["input ap_clk", "input ap_rst_n", *declared])
    body = "\n".join(instances)
    sources["bench.sv"] = f"module bench (\n\t{declarations}\n);\n{body}\nendmodule\n"
    return Design("bench", sources, ports)


def streams(kernel: Kernel) -> list[tuple[str, Stream]]:
    """Return the sides in0, in1, ..., out0, ... of a kernel and their streams."""
    taken = [(f"in{index}", stream) for index, stream in enumerate(kernel.inputs)]
    return taken + [(f"out{index}", stream) for index, stream in enumerate(kernel.outputs)]


def simulate(
    kernels: Mapping[str, Kernel],
    words: Mapping[str, Sequence[np.ndarray]],
    memories: Mapping[str, np.ndarray],
    *,
    stall: tuple[float, float] = (0.0, 0.0),
    burst: int = 1,
    seed: int = 1,
) -> tuple[dict[str, list[np.ndarray]], Result]:
    """Run every kernel of a bench on its input words; return the output words and the raw result.

    Args:
        kernels: name -> kernel.
        words: name -> integers (n, input lanes) of each input, a whole number of frames each.
        memories: name -> constants (depth, lanes) of the kernels that have any.
        stall: chance of a pause at the sources and at the sinks.
        burst: longest pause in cycles.
        seed: of pauses and initial state.
    """
    sources, sinks, widths = {}, {}, {}
    for name, kernel in kernels.items():
        frames, rest = divmod(len(words[name][0]), kernel.loads[0])
        assert rest == 0, f"{name}: not a whole number of frames"
        for index, stream in enumerate(kernel.inputs):
            packed = stream.pack(words[name][index])
            sources[f"{name}_in{index}"] = Feed(packed, stall[0], burst)
        for index, stream in enumerate(kernel.outputs):
            sinks[f"{name}_out{index}"] = Collect(frames * kernel.yields[index], stall[1], burst)
            widths[f"{name}_out{index}"] = stream.width
    files = {
        f"{name}.dat": memory_image(kernel.memory, memories[name])
        for name, kernel in kernels.items()
        if kernel.memory is not None
    }
    executable = build(bench(kernels))
    result = run(executable, sources, sinks, widths=widths, files=files, seed=seed, idle=20_000)
    found = {
        name: [
            stream.unpack(result.data[f"{name}_out{index}"])
            for index, stream in enumerate(kernel.outputs)
        ]
        for name, kernel in kernels.items()
    }
    return found, result


def random_words(
    kernel: Kernel, frames: int, generator: np.random.Generator
) -> tuple[list[np.ndarray], np.ndarray | None]:
    """Draw input words and constants over their full ranges, the extremes more often."""

    def draw(shape: Sequence[int], low: int, high: int) -> np.ndarray:
        values = generator.integers(low, high, size=shape, endpoint=True, dtype=np.int64)
        extremes = generator.choice(np.array([low, high]), size=shape)
        return np.where(generator.random(shape) < 0.1, extremes, values)

    words = [
        draw((frames * count, stream.lanes), *stream.range())
        for count, stream in zip(kernel.loads, kernel.inputs, strict=True)
    ]
    if kernel.memory is None:
        return words, None
    memory = draw((kernel.memory_depth, kernel.memory.lanes), *kernel.memory.range())
    return words, memory
