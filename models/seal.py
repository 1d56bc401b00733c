"""The digest inside an ONNX file of ours, over everything else in it; and what no graph may hold.

A file of somebody else has no digest. Whoever reads one of ours takes the digest out: what is
changed later is another graph.
"""

import hashlib
import logging
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import numpy_helper

from models.errors import BadInput

LOG = logging.getLogger(__name__)
DIGEST = "aaronnet.digest"  # the property's key


def seal(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy that carries its digest."""
    sealed = onnx.ModelProto()
    sealed.CopyFrom(model)
    sealed.metadata_props.add(key=DIGEST, value=digest(model))
    return sealed


def digest(model: onnx.ModelProto) -> str:
    """Return the SHA-256 of a model without a digest."""
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


def break_seal(model: onnx.ModelProto, what: str) -> None:
    """Compare a model with its digest, and take that out.

    Raises:
        BadInput: it has another digest than it says.
    """
    found = [prop.value for prop in model.metadata_props if prop.key == DIGEST]
    others = [prop for prop in model.metadata_props if prop.key != DIGEST]
    del model.metadata_props[:]
    model.metadata_props.extend(others)
    if not found:
        LOG.warning("%s has no digest: a change of its values would not be noticed", what)
    elif found != [digest(model)]:
        raise BadInput(f"{what} is damaged: its digest does not fit its contents; copy it again")


def check_values(model: onnx.ModelProto, what: str) -> None:
    """Check that all constants can be read and are finite.

    Raises:
        BadInput: one is not.
    """
    for tensor in _tensors(model.graph):
        try:
            values = numpy_helper.to_array(tensor)
        except Exception as error:  # sizes, types and encodings that contradict each other
            raise BadInput(f"{what} is damaged: {tensor.name!r} cannot be read") from error
        if tensor.data_type in _FLOATS and not np.isfinite(values.astype(np.float64)).all():
            raise BadInput(f"{what}: {tensor.name!r} holds values that are not finite")
    for node in model.graph.node:
        for attribute in node.attribute:
            if not np.isfinite([attribute.f, *attribute.floats]).all():
                raise BadInput(f"{what}: {node.name!r} holds values that are not finite")


_FLOATS = {
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
    onnx.TensorProto.DOUBLE,
}


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    yield from (sparse.values for sparse in graph.sparse_initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _tensors(inner)
