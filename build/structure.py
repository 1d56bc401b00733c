"""The order of a graph's nodes that its structure gives, whatever order they are listed in.

Rewrites sort and insert nodes as they like. What they keep is what feeds what, and the order of a
node's operands; walking back from the output along those meets the quantizers of two graphs of one
network in the same order, forks and joins included.
"""

from onnx import NodeProto
from qonnx.core.modelwrapper import ModelWrapper


def in_order(model: ModelWrapper) -> list[NodeProto]:
    """Return the nodes that the output needs, each behind its operands, the left ones first."""
    producers = {name: node for node in model.graph.node for name in node.output}
    found: list[NodeProto] = []
    met: set[str] = set()
    # Tensors to walk back from, and nodes whose operands have all been met.
    pending: list[str | NodeProto] = [model.graph.output[0].name]
    while pending:
        item = pending.pop()
        if not isinstance(item, str):
            found.append(item)
            continue
        node = producers.get(item)
        if node is None or node.output[0] in met:
            continue
        met.add(node.output[0])
        pending += [node, *reversed(node.input)]
    return found
