"""A norm in front of the input's quantizer: the host's staircase is the graph's, float by float."""

import json

import numpy as np
import pytest
from brevitas.nn import QuantConv1d
from onnx import TensorProto, helper
from qonnx.core.modelwrapper import ModelWrapper
from torch import nn

from build.execute import trace
from build.input_norm import NORM_PROPERTY, norm_of, normed, range_of_samples, without_norm
from build.stimuli import Task, random_frames
from deploy.board.driver import quantize
from deploy.board.package import Input
from deploy.board.records import record
from models.errors import BadInput
from models.vintage import QONNX
from tests.build.branches import Residual
from tests.build.foreign import KINDS, SMALL, dense, export, front, quantized_input
from tests.deploy.packages import needs_board_env

STEP, BITS = 0.07, 5
NORM = {
    "gain": np.array([1.3, -0.4, 2e-3], np.float32),
    "bias": np.array([0.1, -0.2, 0.003], np.float32),
    "mean": np.array([-0.3, 0.05, 0.001], np.float32),
    "var": np.array([0.9, 1e-4, 2.0], np.float32),
}


def graph(*nodes, constants=NORM, shape=(1, 3, 4), mode="ROUND", zero=0.0) -> ModelWrapper:
    """A graph from x to the quantizer behind these nodes: (op, names of constants)."""
    made, tensor = [], "x"
    for number, (op, names) in enumerate(nodes):
        made.append(helper.make_node(op, [tensor, *names], [f"t{number}"], name=f"n{number}"))
        tensor = f"t{number}"
    made.append(
        helper.make_node(
            "Quant", [tensor, "step", "zero", "bits"], ["y"], name="quantizer",
            domain=QONNX, signed=1, narrow=0, rounding_mode=mode,
        )
    )  # fmt: skip
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    model = ModelWrapper(helper.make_model(helper.make_graph(made, "g", values[:1], values[1:])))
    every = {**constants, "step": STEP, "zero": zero, "bits": float(BITS)}
    for name, value in every.items():
        model.set_initializer(name, np.array(value, np.float32))
    return model


BATCH_NORM = ("BatchNormalization", ("gain", "bias", "mean", "var"))
COLUMNS = {"by": np.array([[[3.0], [-2.0], [0.5]]]), "plus": np.array([[[0.1], [0.2], [-0.3]]])}
GRAPHS = {
    "batch norm": graph(BATCH_NORM),
    "scaled, then added": graph(("Mul", ("by",)), ("Add", ("plus",)), constants=COLUMNS),
    "divided and taken away": graph(("Sub", ("plus",)), ("Div", ("by",)), constants=COLUMNS),
    "one number": graph(("Mul", ("by",)), constants={"by": np.array(7.3)}),
    "channels": graph(BATCH_NORM, shape=(1, 3, 1, 4)),
}


def port(model: ModelWrapper, samples: int) -> Input:
    """The package's end with the quantizer that a build would write."""
    facts = {
        "dma": "idma0", "datatype": f"INT{BITS}", "normal": [1, samples, 1, 3],
        "folded": [1, samples, 3], "packed": [1, samples, 2], "frame": [samples, 3],
        "quantizer": {"step": STEP, "minimum": -16, "maximum": 15, **norm_of(model)},
    }  # fmt: skip
    return record(Input, json.loads(json.dumps(facts)))


@pytest.mark.parametrize("kind", GRAPHS)
def test_the_drivers_integers_are_the_graphs_at_every_step_and_beside_it(kind):
    given = GRAPHS[kind]
    made = without_norm(given)
    assert [node.op_type for node in made.graph.node] == ["Quant"]
    signs, steps = (np.array(norm_of(made)[key]) for key in ("signs", "thresholds"))
    assert steps.shape == (3, 2**BITS - 1) and set(signs) <= {1, -1}
    edge = (signs[:, None] * steps).astype(np.float32)
    rng = np.random.default_rng(0)
    samples = [
        edge,
        np.nextafter(edge, np.float32(-np.inf)),
        np.nextafter(edge, np.float32(np.inf)),
    ]
    samples += [rng.normal(0, scale, edge.shape) for scale in (1e-6, 0.1, 1, 1e3, 1e30)]
    x = np.concatenate(samples, 1).astype(np.float32)[None]  # (1, C, L)
    *_, (_, wanted) = trace(given, _spread(given, x))
    wanted = np.rint(wanted.reshape(-1, 3, 4).transpose(0, 2, 1).reshape(-1, 3) / STEP)
    assert len(np.unique(wanted)) == 2**BITS
    found = quantize(x.transpose(0, 2, 1), port(made, x.shape[2])).reshape(-1, 3)
    np.testing.assert_array_equal(found, wanted)
    on_the_host = normed(made, x.astype(np.float64))[0].T / STEP
    np.testing.assert_array_equal(np.rint(on_the_host), wanted)


def _spread(model: ModelWrapper, x: np.ndarray) -> np.ndarray:
    """Return (1, C, L) as L / 4 float64 frames of the model's."""
    shape = model.get_tensor_shape("x")
    return x[0].reshape(3, -1, 4).transpose(1, 0, 2).reshape(-1, *shape[1:]).astype(np.float64)


def test_the_range_of_samples_is_in_their_units():
    assert range_of_samples(GRAPHS["batch norm"]) is None
    low, high = range_of_samples(without_norm(graph(("Mul", ("by",)), constants={"by": 0.1})))
    assert low == pytest.approx(-15.5 * STEP / 0.1) and high == pytest.approx(14.5 * STEP / 0.1)


def test_a_graph_without_a_norm_stays_as_it_is():
    model = graph()
    assert without_norm(model) is model and model.get_metadata_prop(NORM_PROPERTY) is None
    frames = np.ones((2, 3, 4))
    assert normed(model, frames) is frames


def divided() -> ModelWrapper:
    model = graph(("Div", ("by",)), constants={"by": 3.0})
    model.graph.node[0].input[:] = ["by", "x"]
    return model


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (graph(("Mul", ("by",)), constants={"by": [[[1.0], [0.0], [1.0]]]}), "channel 1 of the"),
        (
            graph(("Add", ("by",)), constants={"by": np.ones((1, 3, 4))}),
            "the same at all positions",
        ),
        (graph(BATCH_NORM, mode="FLOOR"), "rounded to the nearest"),
        (graph(BATCH_NORM, zero=3.0), "one step and no zero point"),
        (divided(), "its divisor must be a constant"),
    ],
)
def test_what_is_no_staircase_is_refused(model, told):
    with pytest.raises(BadInput, match=f"cannot build (n0|quantizer) .*{told}"):
        without_norm(model)


def branches() -> list[nn.Module]:
    return [nn.BatchNorm1d(3), *front(6), Residual(6, False), nn.Flatten(), dense(180, 5)]


@pytest.mark.slow
@needs_board_env
@pytest.mark.parametrize("kind", ["norm_in_front", "norm_in_front_of_rows", "branches"])
def test_it_is_built_simulated_and_validated(kind, finn, tmp_path):
    from build.finished import open_build
    from build.flow import build
    from build.simulation.against_network import simulate_build
    from deploy.board.package import read_package
    from deploy.cli_deploy import deploy

    layers = KINDS.get(kind, branches)
    spelling = (1, *SMALL) if kind == "norm_in_front_of_rows" else None
    given = export(tmp_path / "m.onnx", layers, frame=SMALL, spelling=spelling)
    report = build(given, "ZCU104", tmp_path / "out", to="hdl").report
    assert report.hls_nodes == ()
    assert {(one.mismatches, one.frames) for one in report.verification} == {(0, 104)}
    frames = random_frames(Task(*SMALL, 5, -3, 3), 24, seed=4)
    for stall in (0.0, 0.3):
        facts = simulate_build(open_build(tmp_path / "out"), frames, stall=stall, fast=True)
        assert facts.mismatches == 0
    package = read_package(tmp_path / "out" / "package")
    assert package.input.quantizer.thresholds is not None
    answer = tmp_path / "validated.json"
    place = ["norm_in_front", "norm_in_front_of_rows", "branches"].index(kind)
    deploy(package.folder, frames=48, fast=True, address=f"127.0.2.{1 + place}", json=answer)
    assert json.loads(answer.read_text())["agrees"]


def test_a_sparse_build_says_that_it_does_not(finn, tmp_path):
    from build.build_report import DENSE
    from build.sparse.sparse_build import build_sparse
    from build.style import choose

    def layers() -> list[nn.Module]:
        return [
            nn.BatchNorm1d(3),
            quantized_input(),
            QuantConv1d(3, 5, 32, bias=False),
            nn.Flatten(),
        ]

    given = export(tmp_path / "m.onnx", layers, frame=SMALL)
    with pytest.raises(BadInput, match="normalised in front of their quantizer: --style dense"):
        build_sparse(given, "ZCU104", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert choose(given, "ZCU104")[1].style == DENSE
