"""How fast frames become DMA bytes, beside the FINN driver's own packing, in one run."""

import time

import numpy as np
import pytest
from finn.util.data_packing import (
    finnpy_to_packed_bytearray,
    hexstring2npbytearray,
    pack_innermost_dim_as_hex_string,
)
from qonnx.core.datatype import DataType as FinnType

from deploy.board.packing import DataType, pack, unpack, word_bytes

FRAMES = 100_000
ELEMENTWISE_FRAMES = 8  # a hundred thousand would take hours
FINN_FRAMES = 1_000


def elementwise(frames: np.ndarray, datatype: FinnType) -> np.ndarray:
    """FINN's packing value by value, through strings of bits; its driver carries it as well."""
    bits = -(-frames.shape[-1] * datatype.bitwidth() // 8) * 8
    words = pack_innermost_dim_as_hex_string(frames, datatype, bits, reverse_inner=True)
    packed = np.stack([hexstring2npbytearray(word) for word in words.reshape(-1)])
    return np.flip(packed, axis=-1).reshape(*words.shape, -1)


def seconds_per_frame(function, frames: np.ndarray) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    packed = function(frames)
    return (time.perf_counter() - start) / len(frames), packed


@pytest.mark.benchmark
@pytest.mark.parametrize(("name", "lanes"), [("INT6", 1), ("INT6", 2), ("INT8", 2)])
def test_packing_beside_finns(name: str, lanes: int) -> None:
    finn, ours = FinnType[name], DataType.parse(name)
    low, high = ours.range
    shape = (FRAMES, 1024, 1, 2 // lanes, lanes)
    frames = np.random.default_rng(0).integers(low, high, shape, np.int8, endpoint=True)
    here, packed = seconds_per_frame(lambda part: pack(part, ours), frames)
    slow, by_element = seconds_per_frame(
        lambda part: elementwise(part, finn), frames[:ELEMENTWISE_FRAMES]
    )
    general, by_finn = seconds_per_frame(
        # float32, as FINN's driver gets frames that its quantizer has not cast to int8
        lambda part: finnpy_to_packed_bytearray(
            part, finn, reverse_inner=True, reverse_endian=True
        ),
        frames[:FINN_FRAMES].astype(np.float32),
    )
    back, unpacked = seconds_per_frame(lambda part: unpack(part, ours, lanes), packed)
    np.testing.assert_array_equal(packed[:ELEMENTWISE_FRAMES], by_element)
    np.testing.assert_array_equal(packed[:FINN_FRAMES], by_finn)
    np.testing.assert_array_equal(unpacked, frames)
    assert packed.shape[-1] == word_bytes(ours, lanes)
    print(
        f"\n{name} x {lanes} a word: {1 / here:,.0f} frames/s packed, {1 / back:,.0f} unpacked; "
        f"{slow / here:,.0f} x FINN's element-wise packing ({ELEMENTWISE_FRAMES} frames), "
        f"{general / here:.1f} x its vectorised one ({FINN_FRAMES} frames); ours {FRAMES} frames"
    )
    assert slow / here >= 50
