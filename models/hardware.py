"""AaronNet as dataflow hardware runs it: one straight line, every activation a small integer.

Two things change against `models/aaronnet.py`:

- The three MSC branches become one convolution and one block-diagonal 1x1. All three windows are
  centred on the same samples (window i covers [4i - k/2, 4i + k/2)), so padding the shorter kernels
  with zeros up to 32 taps changes nothing, and zero weights cost nothing in the score.
- A signed quantizer follows every 1x1 + batch norm, before the pooling: pooling takes the largest
  value and a quantizer is monotone, so both orders give the same numbers, and this one leaves the
  hardware comparing and storing `block_bits`-wide integers instead of accumulators.

`models/fuse.py` makes it from a trained network in paper form; what the block quantizers add is
chosen on data by `models/calibrate.py`.
"""

from collections.abc import Iterable
from typing import Any

import torch
from brevitas.nn import QuantConv1d, QuantIdentity, QuantReLU
from torch import Tensor, nn

from models.aaronnet import KERNELS, STRIDE, classifier, positions, separable
from models.config import FRAME_CHANNELS, NetConfig
from models.quantizers import Place, input_quantizer

STEP = "act_quant.fused_activation_quant_proxy.tensor_quant.scaling_impl.value"


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
    """Frames (N, 2, L) -> class scores (N, classes), every activation quantized.

    Args:
        config: its `block_bits` must be set.
    """

    def __init__(self, config: NetConfig):
        super().__init__()
        if config.block_bits is None:
            raise ValueError("the hardware form needs block_bits")
        self.config = config
        filters, at = config.filters[0], Place(config)
        expand = at.inside("expand")
        self.quantize = input_quantizer(config.input_bits)
        self.expand = nn.Sequential(
            MaskedQuantConv1d(
                taps_mask(filters),
                FRAME_CHANNELS,
                filters,
                KERNELS[0],
                stride=STRIDE,
                padding=KERNELS[0] // 2,
                **expand.weights(0),
            ),
            nn.BatchNorm1d(filters),
            QuantReLU(bit_width=expand.relu(2)),
            MaskedQuantConv1d(branch_mask(filters), filters, filters, 1, **expand.weights(3)),
            nn.BatchNorm1d(filters),
            QuantIdentity(bit_width=expand.block(5)),
        )
        widths = list(zip(config.filters, config.filters[1:], strict=False))
        # The last block pools by 2, then all that is left is pooled: one pooling, by 16 of 1024.
        pools = [2] * (len(widths) - 1) + [2 * positions(config.length)]
        self.feats = nn.Sequential(
            *(
                HardwareBlock(*width, pool, at.inside("feats").inside(index))
                for index, (width, pool) in enumerate(zip(widths, pools, strict=True))
            )
        )
        dense = classifier(config.filters[-1], at.inside("classifier").inside(1))
        self.classifier = nn.Sequential(nn.Flatten(), dense)

    def forward(self, x: Tensor) -> Tensor:
        """Return the class scores (N, classes) of frames (N, 2, L)."""
        return self.classifier(self.feats(self.expand(self.quantize(x))))

    @property
    def stages(self) -> list[Any]:
        """MSC and blocks, each a `nn.Sequential`: five layers, block quantizer, pooling if any."""
        blocks: Iterable[Any] = self.feats
        return [self.expand, *(block.block for block in blocks)]


class HardwareBlock(nn.Module):
    """Depthwise 3-tap convolution, 1x1 convolution, quantizer, pooling."""

    def __init__(self, inputs: int, outputs: int, pool: int, at: Place):
        super().__init__()
        block = at.inside("block")
        self.block = nn.Sequential(
            *separable(inputs, outputs, block),
            QuantIdentity(bit_width=block.block(5)),
            nn.MaxPool1d(pool),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, L) to (N, outputs, L // pool)."""
        return self.block(x)


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
