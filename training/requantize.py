"""Give a trained network other bits, without training: what is left of it, and at which cost.

Weight steps (a tensor or a channel) and activation ranges minimise the squared error; ranges never
grow, since what a ReLU cuts off above is part of the function that was learned. Then batch norm
sees other activations than the ones it was trained on: its means and variances are estimated anew
on training frames, which is worth 5 to 14 points at 4 bits. Pruned weights stay zero.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from brevitas.nn import QuantConv1d, QuantIdentity, QuantLinear, QuantReLU
from torch import Tensor, nn

from models import checkpoint as checkpoints
from models.bits import Bits
from models.calibrate import best_range, weight_range
from models.checkpoint import Checkpoint
from models.config import NetConfig
from models.console import Bar
from models.cost import Cost, inference_cost
from models.files import check_target
from models.fuse import to_hardware
from models.networks import build_network, quantized_layers
from models.quantizers import WEIGHT_RANGE, bits_of, weight_levels
from training.data import RadioMLData, SyntheticData, calibration_frames
from training.evaluate import Evaluation, evaluate
from training.norms import BATCH, mixed, reestimate_norms
from training.quantize import one_thread
from training.train import commands_after
from training.twin import set_range, step_of

FRAMES = 2496
"""For ranges; batch norm takes `NORM_FRAMES`."""
NORM_FRAMES = 1 << 15
SAMPLES = 1 << 20  # values looked at a range
Received = Mapping[str, Tensor]
"""What activation quantizers receive, by name."""


@dataclass(frozen=True)
class Requantized:
    """What became of a network: itself, and how it was and is."""

    made: Checkpoint
    before: Evaluation
    after: Evaluation
    cost_before: Cost
    cost_after: Cost

    def to_dict(self) -> dict[str, Any]:
        """Return plain types for JSON."""
        return {
            "network": self.made.config.name,
            "config": self.made.config.to_dict(),
            "data": self.after.data,
            "accuracy_before": self.before.accuracy,
            "accuracy": self.after.accuracy,
            "accuracy_per_snr": self.after.accuracy_per_snr,
            "score_before": self.cost_before.score,
            "score": self.cost_after.score,
        }


def requantize(
    original: Checkpoint,
    source: RadioMLData | SyntheticData,
    bits: Bits,
    out: str | Path,
    *,
    norm_frames: int = NORM_FRAMES,
    seed: int = 0,
    device: str = "cpu",
) -> Requantized:
    """Write a network with other bits, once all of it is known.

    Args:
        original: left as it is. In paper form it is brought into hardware form first if `bits` say
            something about the activations between the blocks.
        source: to calibrate on (training frames) and to measure with (test frames).
        bits: the new ones.
        out: the checkpoint to write.
        norm_frames: about so many for batch norm; 0 leaves it as it is.
        seed: of the choice of frames.
        device: torch's name of where to measure.

    Raises:
        BadInput: the bits do not fit the network, the result cannot be written, or the data is
            unusable.
    """
    check_target(out)
    bits.of(original.ours("requantize"))  # tells what does not fit before any work
    source.prepare_data()
    source.setup("fit")
    with one_thread():  # its sums
        frames = calibration_frames(source, max(FRAMES, norm_frames), seed)
        made = with_bits(original, bits, frames, norm_frames)

    def measured(name: str, network: Checkpoint) -> Evaluation:
        with Bar(f"testing {name}") as progress:
            return evaluate(network, source, device=device, progress=progress)

    before, after = measured("before", original), measured("after", made)
    info = descent(original, source.label, accuracy=after.accuracy)
    made = replace(made, info={**info, "accuracy_before": before.accuracy})
    result = Requantized(made, before, after, inference_cost(original), inference_cost(made))
    checkpoints.save(out, made.network, made.config, made.info)
    return result


def descent(original: Checkpoint, label: str, accuracy: float) -> dict[str, Any]:
    """Return the info of a network that was made of `original` by other bits.

    Args:
        original: what it was made of.
        label: of the data that it was calibrated on.
        accuracy: of what was made.
    """
    info = {
        "data_label": original.data_label,
        **original.info,
        "requantized_from": original.info.get("sha256", ""),
        "calibrated_on": label,
        "accuracy": accuracy,
        "command": commands_after(original.info),
    }
    info.pop("sha256", None)  # of the file that `original` came from
    return info


@torch.no_grad()
def with_bits(
    original: Checkpoint, bits: Bits, frames: Tensor, norm_frames: int = NORM_FRAMES
) -> Checkpoint:
    """Return a network with other bits.

    Args:
        original: left as it is.
        bits: the new ones.
        frames: float32 (N, 2, 1024) training frames in any order.
        norm_frames: at most so many for batch norm; 0 leaves it as it is.
    """
    config = bits.of(original.ours("requantize"))
    base = re.sub(r"-h?w\d+$", "", original.config.name)
    config = config.changed(name=f"{base}-w{config.weight_bits}")
    frames = mixed(frames)
    few = frames[:FRAMES]
    if config.hardware_form and not original.config.hardware_form:
        assert config.block_bits is not None
        original = to_hardware(original, config.block_bits, few)
    network = rebuilt(original, config, received(original, few))
    if norm_frames:
        reestimate_norms(network, frames[:norm_frames].split(BATCH))
    return Checkpoint(network, config, dict(original.info))


@torch.no_grad()
def rebuilt(original: Checkpoint, config: NetConfig, values: Received) -> nn.Module:
    """Return a network of the same layers as `original` with the bits of `config`.

    Args:
        original: left as it is.
        config: differs from its own in bits only.
        values: what its activations receive (`received`).
    """
    network = build_network(config)
    before = original.network.state_dict()
    rest = {key: value for key, value in before.items() if not key.endswith(WEIGHT_RANGE)}
    network.load_state_dict(rest, strict=False)
    given = quantized_layers(original.network)
    for name, layer in quantized_layers(network).items():
        if isinstance(layer, QuantConv1d | QuantLinear):
            if config.weight_steps == "learned":
                value = layer.weight_quant.tensor_quant.scaling_impl.value
                learned = before.get(f"{name}.{WEIGHT_RANGE}")
                same = learned is not None and learned.shape == value.shape
                same = same and weight_levels(given[name]) == weight_levels(layer)
                value.copy_(learned if same else weight_range(layer, value.ndim > 0))
        elif bits_of(layer) != bits_of(given[name]):
            assert isinstance(layer, QuantReLU | QuantIdentity)
            bits, unsigned = bits_of(layer), isinstance(layer, QuantReLU)
            low, high = (0, 2**bits - 1) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
            now = step_of(layer).abs().reshape(1)
            set_range(layer, best_range(values[name][None], now, low, high)[0])
    return network.eval()


@torch.no_grad()
def received(original: Checkpoint, frames: Tensor) -> Received:
    """Return a sample of what each activation quantizer receives, of a ReLU what is positive."""
    found: dict[str, list[Tensor]] = {}
    share = max(1, len(frames) * 257 * max(original.ours("requantize").filters) // SAMPLES)

    def listen(name: str) -> Any:
        def hook(layer: nn.Module, inputs: Any) -> None:
            values = torch.as_tensor(getattr(inputs[0], "value", inputs[0])).flatten()[::share]
            found.setdefault(name, []).append(
                values.clamp_min(0) if isinstance(layer, QuantReLU) else values.clone()
            )

        return hook

    hooks = [
        layer.register_forward_pre_hook(listen(name))
        for name, layer in quantized_layers(original.network).items()
        if isinstance(layer, QuantReLU | QuantIdentity)
    ]
    for batch in frames.split(BATCH // 2):
        original.network(batch)
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(values) for name, values in found.items()}
