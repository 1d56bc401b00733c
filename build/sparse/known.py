"""What sparse hardware computes, asked of every layer before anything is made."""

from build.sparse.network import ArgMax, Layer, Linear, MaxPool, Network, Requantize, Tensor
from models.errors import BadInput

CLASS_BITS = 8
"""Of the class that an accelerator gives."""


def check_known(network: Network) -> None:
    """Check that there is hardware for every layer.

    Raises:
        BadInput: names the first that has none.
    """
    for index, layer in enumerate(network.layers):
        if problem := problem_of(network, index):
            raise BadInput(f"{layer.name}: {problem}")


def problem_of(network: Network, index: int) -> str:
    """Return why there is no sparse hardware for a layer and what there is; empty if there is."""
    layer = network.layers[index]
    if index == 0 and not isinstance(layer, Linear):
        return "sparse hardware starts with a convolution over the frame"
    before, after = network.tensors[index : index + 2]
    behind = network.layers[index + 1] if index + 1 < len(network.layers) else None
    in_front = network.layers[index - 1] if index else None
    if index == 0 and after.positions == 1:
        return "sparse hardware starts with a convolution over the frame"
    if isinstance(layer, Linear) and after.positions == 1:
        return _problem_of_dense(layer, before, behind)
    if isinstance(layer, Linear):
        return _problem_of_windows(layer, before, index == 0) or _problem_behind(layer, behind)
    if isinstance(layer, Requantize) and not isinstance(in_front, Linear):
        return "sparse hardware quantizes what a convolution or a dense layer gives"
    if isinstance(layer, MaxPool) and not isinstance(in_front, Requantize | MaxPool):
        return "sparse hardware pools what a quantizer gives"
    if isinstance(layer, ArgMax) and (before.positions != 1 or before.channels > 2**CLASS_BITS):
        return (
            f"sparse hardware finds no class in {before.channels} scores at {before.positions} "
            "positions"
        )
    return ""


def _problem_of_dense(layer: Linear, before: Tensor, behind: Layer | None) -> str:
    if layer.taps != before.positions or layer.padding:
        return "at one position sparse hardware computes dense layers, no windows"
    if isinstance(behind, Requantize | ArgMax):
        return ""
    return "sparse hardware wants a quantizer or the class behind a dense layer"


def _problem_behind(layer: Linear, behind: Layer | None) -> str:
    if layer.bias.any() or not isinstance(behind, Requantize):
        return "sparse hardware wants a quantizer behind a convolution"
    return ""


def _problem_of_windows(layer: Linear, before: Tensor, first: bool) -> str:
    """Return what is unknown of a convolution's windows."""
    taps, padding, stride = layer.taps, layer.padding, layer.stride
    if first:
        if any(size % stride for size in (before.positions, taps, padding)):
            return (
                "the frame, the window and the padding must be whole multiples of the stride "
                f"{stride} for sparse hardware, not {before.positions}, {taps} and {padding}"
            )
        if 2 * padding > taps:
            return "the padding must be at most half the window for sparse hardware"
        return ""
    if (taps, padding, stride) not in ((3, 1, 1), (1, 0, 1)):
        return (
            "behind the first layer sparse hardware has windows of one position, or of three "
            f"padded by one, at stride 1, not {taps} padded by {padding} at stride {stride}"
        )
    return ""
