"""AaronNet as dataflow hardware runs it: one straight line, every activation a small integer.

Two things change against `models/aaronnet.py`:

- The three MSC branches become one convolution and one block-diagonal 1x1. All three windows are
  centred on the same samples (window i covers [4i - k/2, 4i + k/2)), so padding the shorter kernels
  with zeros up to 32 taps changes nothing, and zero weights cost nothing in the score.
- A signed quantizer follows every 1x1 + batch norm, before the pooling: pooling takes the largest
  value and a quantizer is monotone, so both orders give the same numbers, and this one leaves the
  hardware comparing and storing `block_bits`-wide integers instead of accumulators.

What `fuse` keeps exact. The branches have weight and activation steps of their own, the fused
layers have one each. The fused weights are the branches' integers times a power of two, so they
quantize to the very same integers; a branch's deviating steps move into its batch norms, which are
per channel. Before the block quantizers are switched on, the fused network therefore computes the
same real numbers as the published one; the depthwise and dense layers are copied bit by bit. In
float32 an activation that lies within rounding of a threshold may still fall on its other side,
one in a million or so; in float64 the logits are identical.

What the block quantizers add is chosen on data by `models/calibrate.py`.
"""

from collections.abc import Iterable
from typing import Any

import torch
from brevitas.nn import QuantConv1d, QuantIdentity, QuantReLU
from torch import Tensor, nn

from models.aaronnet import KERNELS, POSITIONS, STRIDE, AaronNet, classifier, separable
from models.checkpoint import Checkpoint
from models.config import FRAME_CHANNELS, NetConfig
from models.errors import BadInput
from models.quantizers import input_quantizer

STEP = "act_quant.fused_activation_quant_proxy.tensor_quant.scaling_impl.value"
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


class MaskedQuantConv1d(QuantConv1d):
    """A convolution some of whose weights are zero by construction, and stay zero in training.

    The mask enters the training graph only: a masked weight gets no gradient and, starting at
    zero, never moves. Evaluation and export see an ordinary convolution with zero weights.
    """

    def __init__(self, mask: Tensor, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.register_buffer("mask", mask, persistent=False)
        with torch.no_grad():
            self.weight.mul_(mask)

    def inner_forward_impl(self, x: Any, quant_weight: Any, quant_bias: Any) -> Any:
        """Convolve; called by Brevitas with the quantized operands."""
        if self.training:
            quant_weight = quant_weight.value * self.mask
            x = getattr(x, "value", x)
        return super().inner_forward_impl(x, quant_weight, quant_bias)


def taps_mask(filters: int) -> Tensor:
    """Return (F, 2, 32) ones and zeros: the taps that each branch's filters really have."""
    mask = torch.zeros(filters, FRAME_CHANNELS, KERNELS[0])
    for part, kernel in zip(mask.chunk(len(KERNELS)), KERNELS, strict=True):
        part[..., centred(kernel)] = 1
    return mask


def branch_mask(filters: int) -> Tensor:
    """Return (F, F, 1) ones and zeros: a branch's 1x1 sees its own filters only."""
    part = torch.ones(filters // len(KERNELS), filters // len(KERNELS))
    return torch.block_diag(*[part] * len(KERNELS)).unsqueeze(-1)


def centred(kernel: int) -> slice:
    """Return where a shorter kernel's taps lie within the longest."""
    margin = (KERNELS[0] - kernel) // 2
    return slice(margin, margin + kernel)


class HardwareAaronNet(nn.Module):
    """Frames (N, 2, 1024) -> class scores (N, 24), every activation quantized.

    Args:
        config: its `block_bits` must be set.
    """

    def __init__(self, config: NetConfig):
        super().__init__()
        if config.block_bits is None:
            raise ValueError("the hardware form needs block_bits")
        self.config = config
        filters, bits = config.filters[0], config.weight_bits
        self.quantize = input_quantizer(config.input_bits)
        self.expand = nn.Sequential(
            MaskedQuantConv1d(
                taps_mask(filters),
                FRAME_CHANNELS,
                filters,
                KERNELS[0],
                stride=STRIDE,
                padding=KERNELS[0] // 2,
                weight_bit_width=bits,
            ),
            nn.BatchNorm1d(filters),
            QuantReLU(bit_width=config.act_bits),
            MaskedQuantConv1d(branch_mask(filters), filters, filters, 1, weight_bit_width=bits),
            nn.BatchNorm1d(filters),
            QuantIdentity(bit_width=config.block_bits),
        )
        widths = list(zip(config.filters, config.filters[1:], strict=False))
        # The last block pools by 2, then everything that is left is pooled: one pooling by 16.
        pools = [2] * (len(widths) - 1) + [2 * POSITIONS]
        self.feats = nn.Sequential(
            *(
                HardwareBlock(inputs, outputs, pool, config)
                for (inputs, outputs), pool in zip(widths, pools, strict=True)
            )
        )
        self.classifier = nn.Sequential(nn.Flatten(), classifier(config.filters[-1], config))

    def forward(self, x: Tensor) -> Tensor:
        """Return the class scores (N, 24) of frames (N, 2, 1024)."""
        return self.classifier(self.feats(self.expand(self.quantize(x))))

    @property
    def stages(self) -> list[Any]:
        """MSC and blocks, each a `nn.Sequential`: five layers, block quantizer, pooling if any."""
        blocks: Iterable[Any] = self.feats
        return [self.expand, *(block.block for block in blocks)]


class HardwareBlock(nn.Module):
    """Depthwise 3-tap convolution, 1x1 convolution, quantizer, pooling."""

    def __init__(self, inputs: int, outputs: int, pool: int, config: NetConfig):
        super().__init__()
        self.block = nn.Sequential(
            *separable(inputs, outputs, config),
            QuantIdentity(bit_width=config.block_bits),
            nn.MaxPool1d(pool),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, L) to (N, outputs, L // pool)."""
        return self.block(x)


def to_hardware(checkpoint: Checkpoint, block_bits: int, frames: Tensor) -> Checkpoint:
    """Return the hardware form of a checkpoint, its block quantizers calibrated on `frames`.

    VGG10 is in hardware form as it is, and returned unchanged.

    Args:
        checkpoint: an AaronNet in paper form, or a VGG10.
        block_bits: bits of the activations between the blocks.
        frames: float32 (N, 2, 1024), some hundred over all classes and SNRs.

    Raises:
        BadInput: it is a hardware form of other bits already.
    """
    from models.calibrate import calibrate  # it works on this module's networks

    if checkpoint.config.hardware_form:
        if checkpoint.config.block_bits in (None, block_bits):
            return checkpoint
        raise BadInput(
            f"{checkpoint.config.name} is a hardware form with {checkpoint.config.block_bits} bits "
            "already; quantize the checkpoint that it was made from"
        )
    fused = fuse(checkpoint, block_bits)
    assert isinstance(fused.network, HardwareAaronNet)
    calibrate(fused.network, frames)
    return fused


def fuse(checkpoint: Checkpoint, block_bits: int) -> Checkpoint:
    """Return the hardware form, its block quantizers not calibrated yet: range [-1, 1)."""
    config = checkpoint.config.changed(
        name=f"{checkpoint.config.name}-hw{block_bits}", block_bits=block_bits
    )
    source = checkpoint.network
    assert isinstance(source, AaronNet), "VGG10 is in hardware form as it is"
    network = HardwareAaronNet(config)
    state = {
        key: value
        for key, value in source.state_dict().items()
        if key.startswith(("quantize.", "feats."))
    }
    for key, value in source.classifier.state_dict().items():
        state[f"classifier.1.{key}"] = value
    branches = list(source.expand.children())
    state |= {f"expand.{key}": value for key, value in _fuse_msc(branches).items()}
    state[f"expand.5.{STEP}"] = torch.tensor(1.0)
    for index in range(len(network.feats)):
        state[f"feats.{index}.block.5.{STEP}"] = torch.tensor(1.0)
    network.load_state_dict(state, strict=True)
    return Checkpoint(network.eval(), config, dict(checkpoint.info))


def _fuse_msc(branches: list[Any]) -> dict[str, Tensor]:
    """Return the state of fused `Branch`es, keys relative to `expand`."""
    reference = branches[0][2].state_dict()[STEP]
    filters = branches[0][0].out_channels
    step = [_power_of_two(max(_step(branch[layer]) for branch in branches)) for layer in (0, 3)]
    taps = torch.zeros(len(branches) * filters, FRAME_CHANNELS, KERNELS[0])
    parts: dict[str, list[Tensor]] = {}
    blocks = []
    for branch, rows in zip(branches, taps.chunk(len(branches)), strict=True):
        convolution, norm, relu, pointwise, last_norm = branch
        # Brought to one activation step: relu(x * (a / a_b)) / a = relu(x) / a_b.
        to_reference = (reference / relu.state_dict()[STEP]).item()
        rows[..., centred(convolution.kernel_size[0])] = _integers(convolution) * step[0]
        blocks.append(_integers(pointwise).squeeze(-1) * step[1])
        grown = step[0] / _step(convolution)
        layers: dict[int, dict[str, Tensor]] = {
            0: {"bias": convolution.bias * grown},
            1: scaled_norm(norm, inputs=grown, outputs=to_reference),
        }
        grown = to_reference * step[1] / _step(pointwise)
        layers |= {3: {"bias": pointwise.bias * grown}, 4: scaled_norm(last_norm, inputs=grown)}
        for layer, tensors in layers.items():
            for key, tensor in tensors.items():
                parts.setdefault(f"{layer}.{key}", []).append(tensor.detach())
    state = {
        key: tensors[0] if tensors[0].ndim == 0 else torch.cat(tensors)
        for key, tensors in parts.items()
    }
    state["0.weight"] = taps
    state["3.weight"] = torch.block_diag(*blocks).unsqueeze(-1)
    state[f"2.{STEP}"] = reference
    return state


def scaled_norm(
    norm: nn.BatchNorm1d, inputs: Tensor | float = 1.0, outputs: Tensor | float = 1.0
) -> dict[str, Tensor]:
    """Return a batch norm's state for inputs that are `inputs` times larger than before.

    Its outputs become `outputs` times those of before. Factors are positive, scalar or (C,). The
    running statistics stay true statistics of the new inputs, so training can go on.
    """
    mean, var, batches = statistics_of(norm)
    mean, var = mean.double(), var.double()
    gain = norm.weight.double() / (var + norm.eps).sqrt() * outputs / inputs
    new_var = var * inputs**2
    state = {
        "weight": gain * (new_var + norm.eps).sqrt(),
        "bias": norm.bias.double() * outputs,
        "running_mean": mean * inputs,
        "running_var": new_var,
    }
    state = {key: value.detach().to(norm.weight.dtype) for key, value in state.items()}
    return state | {"num_batches_tracked": batches.clone()}


def statistics_of(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor, Tensor]:
    """Return the running mean and variance (C,), and how many batches made them."""
    mean, var, batches = norm.running_mean, norm.running_var, norm.num_batches_tracked
    assert mean is not None and var is not None and batches is not None, "torch's default"
    return mean, var, batches


def _integers(layer: QuantConv1d) -> Tensor:
    """Return the layer's integer weights as floats, in the weight's shape."""
    with torch.no_grad():
        return layer.quant_weight().int().float()


def _step(layer: QuantConv1d) -> float:
    """Return the size of the layer's weight step."""
    with torch.no_grad():
        return layer.quant_weight().scale.item()


def _power_of_two(value: float) -> float:
    """Return the nearest power of two: small integers times it are exact, and divide exactly."""
    return float(torch.tensor(value).log2().round().exp2())
