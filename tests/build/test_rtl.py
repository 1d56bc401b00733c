"""Every kernel, verilated, against numpy: shapes, PE, widths, signedness, random stalls."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from build.rtl.junctions import StreamAdd, StreamConcat, StreamFork
from build.rtl.kernel import Kernel, Stream, memory_image, read_memory_image, wrapper
from build.rtl.kernels import (
    Argmax,
    ChannelAdd,
    ChannelMul,
    DepthwiseVVU,
    WidthConverter,
    WindowMax,
)
from build.rtl.windows import PaddedWindow, PositionMax
from tests.build.kernel_bench import random_words, simulate


def sum_bits(terms: int, a_bits: int, a_signed: bool, w_bits: int, w_signed: bool) -> int:
    """Bits that hold any sum of `terms` products."""
    return a_bits + w_bits + int(np.ceil(np.log2(terms))) + (a_signed != w_signed)


def depthwise(channels, taps, positions, pe, simd, a_bits, a_signed, w_bits, w_signed):
    bits = sum_bits(taps, a_bits, a_signed, w_bits, w_signed)
    signed = a_signed or w_signed
    return DepthwiseVVU(
        channels, taps, positions, pe, a_bits, a_signed, w_bits, w_signed, bits, signed, simd
    )


def concat(channels, *types, lanes):
    bits, signed = max(bits + 1 for bits, _ in types), any(signed for _, signed in types)
    streams = tuple(Stream(lanes, *each) for each in types)
    return StreamConcat(streams, channels, 3, bits, signed)


# One build for all of these: the corners of every parameter.
KERNELS: dict[str, Kernel] = {
    "depthwise_fold": depthwise(8, 3, 7, 4, 1, 6, True, 6, True),
    "depthwise_one_lane": depthwise(4, 3, 2, 1, 1, 8, False, 6, True),
    "depthwise_simd": depthwise(8, 3, 7, 8, 3, 5, False, 4, True),
    "depthwise_simd_fold": depthwise(6, 4, 3, 3, 2, 4, True, 3, False),
    "depthwise_pointwise": depthwise(3, 1, 5, 1, 1, 3, False, 3, False),
    "depthwise_wide": depthwise(2, 32, 2, 2, 1, 16, True, 12, True),
    "max_pairs": WindowMax(6, 2, 5, 3, 7, True),
    "max_global": WindowMax(4, 8, 1, 1, 5, False),
    "max_one": WindowMax(4, 1, 2, 4, 8, True),
    "argmax_serial": Argmax(24, 1, 22, True, 8),
    "argmax_parallel": Argmax(24, 6, 9, True, 8, vectors=3),
    "argmax_one_word": Argmax(5, 5, 4, False, 3),
    "width_up": WidthConverter(24, 6, True, 1, 8),
    "width_down": WidthConverter(24, 6, True, 8, 1),
    "width_up_odd": WidthConverter(132, 5, False, 3, 11),
    "width_down_odd": WidthConverter(132, 5, False, 11, 3),
    "width_common_factor": WidthConverter(24, 3, False, 4, 6),
    "add_fold": ChannelAdd(24, 2, 3, 18, True, 14, True, 20, True),
    "add_unsigned": ChannelAdd(4, 2, 4, 6, False, 5, False, 7, False),
    "add_mixed": ChannelAdd(4, 2, 1, 6, False, 5, True, 8, True),
    "fork_two": StreamFork(Stream(3, 4, True), 5, 2),
    "fork_five": StreamFork(Stream(1, 7, False), 4, 5),
    "sum_signed": StreamAdd(Stream(2, 4, True), Stream(2, 6, True), 7, 7, True),
    "sum_mixed": StreamAdd(Stream(3, 5, False), Stream(3, 3, True), 4, 7, True),
    "sum_unsigned": StreamAdd(Stream(1, 4, False), Stream(1, 4, False), 3, 5, False),
    "concat_two": concat((2, 3), (4, True), (3, False), lanes=1),
    "concat_lanes": concat((4, 8, 2), (3, True), (5, True), (2, False), lanes=2),
    "concat_one_word": concat((3, 3), (3, False), (4, False), lanes=3),
    "padded_same": PaddedWindow(2, 9, 1, 1, 3, 1, 1, 8, True),
    "padded_one_side": PaddedWindow(3, 7, 0, 2, 3, 1, 1, 4, False),
    "padded_in_front": PaddedWindow(1, 7, 3, 0, 4, 1, 1, 5, True),
    "padded_more_windows": PaddedWindow(2, 6, 2, 2, 3, 1, 1, 3, True),
    "padded_strided": PaddedWindow(2, 17, 2, 2, 8, 4, 1, 6, True),
    "padded_gap": PaddedWindow(2, 10, 2, 1, 2, 3, 2, 4, True),
    "padded_short": PaddedWindow(2, 2, 2, 2, 5, 1, 1, 4, True),
    "padded_one": PaddedWindow(2, 1, 1, 1, 3, 1, 1, 4, False),
    "pairs": PositionMax(4, 2, 8, 4, 4, False),
    "pairs_folded": PositionMax(6, 2, 6, 2, 7, True),
    "threes_and_two": PositionMax(6, 3, 8, 1, 4, True),
    "all_and_none": PositionMax(2, 4, 4, 1, 3, False),
    "each_for_itself": PositionMax(4, 1, 3, 2, 5, True),
    "pair_and_one": PositionMax(2, 2, 3, 2, 5, True),
    "mul_fold": ChannelMul(24, 2, 3, 14, True, 6, False, 20, True),
    "mul_unsigned": ChannelMul(4, 2, 4, 6, False, 5, False, 11, False),
    "mul_signed": ChannelMul(4, 2, 1, 6, True, 5, True, 11, True),
}


def check(kernels, frames, stall, burst, seed):
    generator = np.random.default_rng(seed)
    words, memories = {}, {}
    for name, kernel in kernels.items():
        words[name], memory = random_words(kernel, frames, generator)
        if memory is not None:
            memories[name] = memory
    found, result = simulate(kernels, words, memories, stall=stall, burst=burst, seed=seed)
    assert result.failure == ""
    for name, kernel in kernels.items():
        expected = kernel.compute(words[name], memories.get(name))
        for stream, wanted in zip(found[name], expected, strict=True):
            np.testing.assert_array_equal(stream, wanted, err_msg=name)
    return result


# No deadline: the first example waits for the build.
@settings(max_examples=40, deadline=None)
@given(
    frames=st.integers(1, 6),
    stall=st.tuples(st.floats(0, 0.9), st.floats(0, 0.9)),
    burst=st.integers(1, 20),
    seed=st.integers(1, 2**31 - 1),
)
def test_kernels_are_bit_exact_under_random_stalls(frames, stall, burst, seed):
    check(KERNELS, frames, stall, burst, seed)


def test_kernels_take_as_many_cycles_as_they_say():
    frames = 20
    result = check(KERNELS, frames, (0.0, 0.0), 1, 1)
    for name, kernel in KERNELS.items():
        arrivals = result.arrivals[f"{name}_out0"].reshape(frames, -1)[:, -1]
        steady = np.diff(arrivals)
        assert set(steady[1:]) == {kernel.cycles()}, name
        assert arrivals[0] <= kernel.cycles() + 4, name


def test_argmax_takes_the_first_of_equal_values():
    kernels = {"argmax_parallel": KERNELS["argmax_parallel"]}
    words = np.full((12, 6), -3)
    words[4:8] = np.array([[0] * 6, [1, 2, 2, 0, 0, 0], [2] * 6, [0] * 6])
    words[8:, 5] = 200
    found, _ = simulate(KERNELS | kernels, inputs_with(words), constants())
    assert found["argmax_parallel"][0].ravel().tolist() == [0, 7, 5]


def inputs_with(words):
    generator = np.random.default_rng(0)
    inputs = {name: random_words(kernel, 1, generator)[0] for name, kernel in KERNELS.items()}
    return inputs | {"argmax_parallel": [words]}


def constants():
    generator = np.random.default_rng(0)
    drawn = {name: random_words(kernel, 1, generator)[1] for name, kernel in KERNELS.items()}
    return {name: memory for name, memory in drawn.items() if memory is not None}


def test_a_wrong_weight_shows():
    generator = np.random.default_rng(5)
    words = {name: random_words(kernel, 2, generator)[0] for name, kernel in KERNELS.items()}
    memories = constants()
    name = "depthwise_fold"
    (expected,) = KERNELS[name].compute(words[name], memories[name])
    memories[name] = memories[name].copy()
    memories[name][1, 2] ^= 1
    found, _ = simulate(KERNELS, words, memories)
    assert np.flatnonzero((found[name][0] != expected).any(axis=0)).tolist() == [2]


@st.composite
def divisors(draw, number):
    return draw(st.sampled_from([d for d in range(1, number + 1) if number % d == 0]))


@st.composite
def padded_windows(draw, bits):
    channels, taps, dilation, stride = draw(
        st.tuples(st.integers(1, 4), st.integers(2, 7), st.integers(1, 3), st.integers(1, 4))
    )
    reach = (taps - 1) * dilation
    before, after = draw(st.integers(0, reach)), draw(st.integers(0, reach))
    length = max(1, reach + 1 - before - after) + draw(st.integers(0, 20))
    return PaddedWindow(channels, length, before, after, taps, stride, dilation, bits, True)


@st.composite
def random_kernels(draw):
    kernels = {}
    bits, flag, small = st.integers(1, 12), st.booleans(), st.integers(1, 12)
    for i in range(4):
        channels, taps, positions = draw(small), draw(st.integers(1, 9)), draw(st.integers(1, 5))
        pe = draw(divisors(channels))
        kernels[f"depthwise_{i}"] = depthwise(
            *(channels, taps, positions, pe, draw(divisors(taps))),
            *(draw(bits), draw(flag), draw(bits), draw(flag)),
        )
        kernels[f"max_{i}"] = WindowMax(
            channels, taps, positions, draw(divisors(channels)), draw(bits), draw(flag)
        )
        labels = draw(st.integers(1, 40))
        kernels[f"argmax_{i}"] = Argmax(
            labels, draw(divisors(labels)), draw(bits), draw(flag), draw(st.integers(6, 9))
        )
        elements = draw(st.sampled_from([24, 33, 48, 60, 129]))
        kernels[f"width_{i}"] = WidthConverter(
            elements, draw(bits), draw(flag), draw(divisors(elements)), draw(divisors(elements))
        )
        a, c = draw(bits), draw(bits)
        kernels[f"add_{i}"] = ChannelAdd(
            channels, positions, pe, a, draw(flag), c, draw(flag), max(a, c) + 2, True
        )
        left, right = Stream(pe, a, draw(flag)), Stream(pe, c, draw(flag))
        kernels[f"sum_{i}"] = StreamAdd(left, right, positions, max(a, c) + 2, True)
        kernels[f"fork_{i}"] = StreamFork(left, positions, draw(st.integers(2, 4)))
        kernels[f"positions_{i}"] = PositionMax(
            channels, taps, taps + draw(small), pe, draw(bits), draw(flag)
        )
        kernels[f"padded_{i}"] = draw(padded_windows(a))
        types = draw(st.lists(st.tuples(bits, flag), min_size=2, max_size=4))
        folds = tuple(pe * draw(st.integers(1, 3)) for _ in types)
        kernels[f"concat_{i}"] = concat(folds, *types, lanes=pe)
    return kernels


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(kernels=random_kernels(), seed=st.integers(1, 2**31 - 1))
def test_random_kernels_are_bit_exact(kernels, seed):
    check(kernels, 3, (0.0, 0.0), 1, seed)
    check(kernels, 3, (0.3, 0.3), 5, seed)


@given(
    lanes=st.integers(1, 5), bits=st.integers(1, 40), signed=st.booleans(), seed=st.integers(0, 99)
)
def test_packing_and_memory_images_round_trip(lanes, bits, signed, seed):
    stream = Stream(lanes, bits, signed)
    low, high = stream.range()
    words = np.random.default_rng(seed).integers(low, high, size=(7, lanes), endpoint=True)
    packed = stream.pack(words)
    assert packed.shape == (7, stream.width // 8)
    np.testing.assert_array_equal(stream.unpack(packed), words)
    np.testing.assert_array_equal(read_memory_image(stream, memory_image(stream, words)), words)


def test_a_stream_puts_lane_0_lowest():
    assert Stream(3, 4, False).pack(np.array([[1, 2, 3]])).tolist() == [[0x21, 0x03]]
    assert memory_image(Stream(3, 4, False), np.array([[1, 2, 3]])) == "321\n"


def test_wrapper_names_the_ports_that_finn_stitches():
    text = wrapper(KERNELS["add_mixed"], "node_7", "memblock.dat")
    for port in ("ap_clk", "ap_rst_n", "in0_V_TDATA", "in0_V_TREADY", "out0_V_TVALID"):
        assert port in text
    assert 'parameter INIT_FILE = "memblock.dat"' in text
    assert "module node_7" in text


@pytest.mark.parametrize(
    "make",
    [
        lambda: depthwise(8, 3, 1, 3, 1, 4, True, 4, True),
        lambda: depthwise(8, 3, 1, 4, 2, 4, True, 4, True),
        lambda: WindowMax(8, 2, 1, 3, 4, True),
        lambda: Argmax(24, 5, 4, True, 8),
        lambda: Argmax(24, 4, 4, True, 4),
        lambda: WidthConverter(24, 4, True, 5, 8),
        lambda: StreamAdd(Stream(2, 4, True), Stream(1, 4, True), 3, 5, True),
        lambda: PaddedWindow(2, 9, 3, 1, 3, 1, 1, 8, True),
        lambda: PaddedWindow(2, 2, 0, 0, 3, 1, 1, 8, True),
        lambda: PaddedWindow(2, 9, 0, 0, 1, 1, 1, 8, True),
        lambda: PositionMax(4, 3, 2, 2, 4, True),
        lambda: PositionMax(4, 2, 4, 3, 4, True),
        lambda: concat((3, 4), (4, True), (4, True), lanes=2),
    ],
)
def test_impossible_parameters_are_refused(make):
    with pytest.raises(AssertionError):
        make()
