"""Packing: bit for bit what FINN's own packing gives, for every data type and fold."""

import numpy as np
import pytest
from finn.util.data_packing import finnpy_to_packed_bytearray, packed_bytearray_to_finnpy
from hypothesis import given, settings
from hypothesis import strategies as st
from qonnx.core.datatype import DataType as FinnType
from qonnx.util.basic import gen_finn_dt_tensor

from build.rtl.kernel import Stream
from deploy.board.errors import BadInput
from deploy.board.packing import DataType, pack, unpack, word_bytes

NAMES = [
    *(f"INT{bits}" for bits in (2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 17, 24)),
    *(f"UINT{bits}" for bits in (1, 2, 3, 4, 5, 6, 7, 8, 11, 16, 23, 24)),
    *("BINARY", "BIPOLAR", "TERNARY", "FIXED<8,4>", "FIXED<10,3>", "FIXED<9,8>", "FLOAT32"),
]


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    lanes=st.integers(1, 40),
    rows=st.integers(1, 5),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_finns_own_packing(name: str, lanes: int, rows: int, seed: int) -> None:
    np.random.seed(seed)  # gen_finn_dt_tensor draws from the global generator
    finn, ours = FinnType[name], DataType.parse(name)
    tensor = gen_finn_dt_tensor(finn, (1, rows, 1, lanes))
    wanted = finnpy_to_packed_bytearray(tensor, finn, reverse_inner=True, reverse_endian=True)
    packed = pack(tensor, ours)
    np.testing.assert_array_equal(packed, wanted)
    assert packed.shape[-1] == word_bytes(ours, lanes)
    np.testing.assert_array_equal(unpack(packed, ours, lanes), tensor)
    if name != "FIXED<8,4>":  # finn-plus 1.6.1 fails to unpack fixed point of 8 or 16 bits
        back = packed_bytearray_to_finnpy(
            packed, finn, tensor.shape, reverse_inner=True, reverse_endian=True
        )
        np.testing.assert_array_equal(unpack(packed, ours, lanes), back)


@settings(max_examples=200, deadline=None)
@given(
    bits=st.integers(1, 64),
    signed=st.booleans(),
    lanes=st.integers(1, 70),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_width_there_and_back(bits: int, signed: bool, lanes: int, seed: int) -> None:
    # FINN's packing goes through float32, exact up to 24 bits only; beyond, arithmetic in Python.
    datatype = DataType.parse(f"{'' if signed else 'U'}INT{bits}")
    low, high = datatype.range
    kind = np.int64 if signed else np.uint64
    values = np.random.default_rng(seed).integers(low, high, (3, lanes), kind, endpoint=True)
    values[0, 0], values[-1, -1] = low, high
    packed = pack(values, datatype)
    for row, word in zip(values.tolist(), packed, strict=True):
        wanted = sum((value % (1 << bits)) << (bits * lane) for lane, value in enumerate(row))
        assert int.from_bytes(word.tobytes(), "little") == wanted
    np.testing.assert_array_equal(unpack(packed, datatype, lanes), values)


@pytest.mark.parametrize("lanes", [1, 2])
def test_equals_the_streams_of_the_simulated_rtl(lanes: int) -> None:
    values = np.random.default_rng(lanes).integers(-32, 32, (100, lanes))
    stream = Stream(lanes, 6, signed=True)
    np.testing.assert_array_equal(pack(values, DataType.parse("INT6")), stream.pack(values))


def test_more_values_than_one_block() -> None:
    values = np.random.default_rng(0).integers(-32, 32, (400, 1024, 2), np.int8)
    packed = pack(values, DataType.parse("INT6"))
    np.testing.assert_array_equal(packed[-1], pack(values[-1], DataType.parse("INT6")))
    np.testing.assert_array_equal(unpack(packed, DataType.parse("INT6"), 2), values)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("INT6", 32), ("INT6", -33), ("UINT5", -1), ("UINT5", 32), ("BINARY", 2)),
        *(("TERNARY", -2), ("BIPOLAR", 0), ("INT6", 0.5), ("FIXED<8,4>", 1 / 32)),
        *(("FIXED<8,4>", 8), ("UINT64", -1), ("INT6", np.nan), ("INT6", np.inf)),
    ],
)
def test_values_that_do_not_fit_are_refused(name: str, value: float) -> None:
    with pytest.raises(BadInput):
        pack(np.array([[0 if name != "BIPOLAR" else 1, value]]), DataType.parse(name))


@pytest.mark.parametrize(
    "name", ["INT", "INT0", "INT65", "FLOAT8", "int6", "FIXED<4,4>", "FIXED<4,8>", ""]
)
def test_unknown_types_are_refused(name: str) -> None:
    with pytest.raises(BadInput):
        DataType.parse(name)


def test_a_word_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="no word"):
        unpack(np.zeros((3, 2), np.uint8), DataType.parse("INT6"), 3)
