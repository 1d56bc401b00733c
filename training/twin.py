"""The networks' arithmetic in plain torch operations, for training.

Brevitas computes fake quantization through some forty small modules a layer, and cannot switch it
off. A `Twin` runs a network's own parameters through one autograd function a quantizer instead
(fewer passes over memory, same numbers), in floating point or quantized. It owns no parameters: the
network that it was made from is trained, saved and exported. A class of the user's own is run as it
is, by Brevitas.
"""

from collections.abc import Iterable
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from brevitas.core.scaling import ParameterScaling
from brevitas.graph.calibrate import calibration_mode
from brevitas.nn import QuantConv1d, QuantHardTanh, QuantIdentity, QuantLinear, QuantReLU
from torch import Tensor, nn
from torch.distributed import nn as collectives

from models.aaronnet import AaronNet
from models.bacalhaunet import Mean, Residual
from models.calibrate import weight_range
from models.config import FRAME_LENGTH
from models.foreign import is_foreign
from models.hardware import HardwareAaronNet, statistics_of
from models.quantizers import bits_of, scaling_of, weight_levels
from models.vgg10 import VGG10
from training import kernels

SMALLEST_STEP = 1e-10  # as Brevitas's scaling_min_val


class FakeQuant(torch.autograd.Function):
    """round(x / step) * step within [low, high] steps.

    Gradients are those of Brevitas: straight through the rounding, none to x outside the range, and
    to the step what that leaves (Esser et al., "Learned Step Size Quantization", 2020, eq. 3).
    """

    @staticmethod
    def forward(ctx, x: Tensor, step: Tensor, low: int, high: int) -> Tensor:
        """Return x on the grid; `step` is a scalar tensor, or one that x's shape is spread from."""
        ctx.save_for_backward(x, step)
        ctx.low, ctx.high = low, high
        return torch.div(x, step).round_().clamp_(low, high).mul_(step)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x and step."""
        x, step = ctx.saved_tensors
        ratio = x / step
        level = ratio.round()
        inside = (level >= ctx.low) & (level <= ctx.high)
        grad_x = grad * inside
        # d/dstep of round(x/step) step: the rounding error inside, the bound outside.
        error = level.clamp_(ctx.low, ctx.high).sub_(ratio.mul_(inside))
        if step.numel() > 1:
            grad_step = error.mul_(grad).sum_to_size(step.shape)
        elif grad.is_contiguous() and error.is_contiguous():
            grad_step = torch.dot(grad.view(-1), error.view(-1)).reshape(step.shape)
        else:  # channels last: a dot product would copy both
            grad_step = error.mul_(grad).sum().reshape(step.shape)
        return grad_x, grad_step, None, None


def step_of(quantizer: QuantReLU | QuantIdentity) -> nn.Parameter:
    """Return the parameter that holds a learned activation quantizer's range."""
    return scaling_of(quantizer).value


def quantized_weight(layer: QuantConv1d | QuantLinear) -> tuple[Tensor, Tensor]:
    """Return the weight on its grid, and the grid's step: a scalar, or (C, 1, ...) by channel."""
    low, high = weight_levels(layer)
    scaling = layer.weight_quant.tensor_quant.scaling_impl
    if isinstance(scaling, ParameterScaling):
        largest = scaling.value.abs()
    elif layer.weight_quant.quant_injector.scaling_per_output_channel:
        largest = layer.weight.abs().flatten(1).amax(1).view(-1, *[1] * (layer.weight.ndim - 1))
    else:
        largest = layer.weight.abs().max()
    step = largest.clamp_min(SMALLEST_STEP) / -low
    return _masked(layer, FakeQuant.apply(layer.weight, step, low, high)), step


def foreign_weight(layer: Any) -> Tensor:
    """Return the weight of a layer of a user's class as its quantizer leaves it, if it has one."""
    if not hasattr(layer, "quant_weight"):
        return layer.weight
    weight = layer.quant_weight()
    return getattr(weight, "value", weight)


def _masked(layer: QuantConv1d | QuantLinear, weight: Tensor) -> Tensor:
    """Keep gradients from weights that are zero by construction (`models.hardware`)."""
    mask = getattr(layer, "mask", None)
    return weight if mask is None else weight * mask


class Twin(nn.Module):
    """Runs a network's parameters: frames (N, 2, 1024) -> class scores (N, 24).

    Attributes:
        quantized: False computes in floating point (the input stays quantized).
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        # A list hides it from torch: the parameters have one owner.
        self._network = [network]
        self.quantized = True
        self._foreign = is_foreign(network)
        self._bits = {
            id(layer): bits_of(layer)
            for layer in network.modules()
            if isinstance(layer, QuantReLU | QuantIdentity | QuantHardTanh) and not self._foreign
        }

    def forward(self, x: Tensor) -> Tensor:
        """Return the class scores (N, 24) of frames (N, 2, 1024)."""
        network = self._network[0]
        if self._foreign:
            return network(x)
        if x.device.type == "cpu" and x.dtype == torch.float32 and fits_kernels(network):
            x = self._run(network.quantize, x, None)[0]
            return self._run(network.classifier, self._features(network, x), None)[0]
        if x.device.type == "cpu" and runs_channels_last(network):
            x = x.unsqueeze(2).contiguous(memory_format=torch.channels_last)
        return self._run(network, x, None)[0]

    def _features(self, network: AaronNet | HardwareAaronNet, x: Tensor) -> Tensor:
        """Return the pooled features (N, F) of quantized frames, computed by `training.kernels`."""
        expand: list[Any] = list(network.expand.children())
        # The hardware form has the branches as one.
        branches = [expand] if isinstance(network, HardwareAaronNet) else expand
        longest = max(branch[0].kernel_size[0] for branch in branches)
        weights = [
            F.pad(self._weight(branch[0]), ((longest - branch[0].kernel_size[0]) // 2,) * 2)
            for branch in branches
        ]
        raw, mean, var = kernels.Stem.apply(
            x, torch.cat(weights), torch.cat([branch[0].bias for branch in branches])
        )
        gain, shift = normalisation([b[1] for b in branches], mean, var, raw.numel() // len(mean))
        raw, mean, var = kernels.Pointwise.apply(
            *(raw, gain, shift, *self._steps([b[2] for b in branches], len(gain))),
            torch.block_diag(*(self._weight(branch[3]).squeeze(2) for branch in branches)),
            torch.cat([branch[3].bias for branch in branches]),
        )
        norms, quantizer = [branch[4] for branch in branches], _block_quantizer(branches[0])
        by = 1
        blocks: Iterable[Any] = network.feats
        for block in blocks:
            depthwise, norm, relu, pointwise, last_norm = block.block[:5]
            gain, shift = normalisation(norms, mean, var, raw.numel() // len(mean))
            raw, mean, var = kernels.Depthwise.apply(
                *(raw, gain, shift, *self._signed_steps(quantizer, len(gain)), by),
                *(self._weight(depthwise).squeeze(1).t(), depthwise.bias),
            )
            gain, shift = normalisation([norm], mean, var, raw.numel() // len(mean))
            raw, mean, var = kernels.Pointwise.apply(
                *(raw, gain, shift, *self._steps([relu], len(gain))),
                *(self._weight(pointwise).squeeze(2), pointwise.bias),
            )
            norms, by, quantizer = [last_norm], 2, _block_quantizer(block.block)
        gain, shift = normalisation(norms, mean, var, raw.numel() // len(mean))
        # Pooling by 2 and then over all that is left is pooling over all of them; and a quantizer
        # keeps the order.
        pooled = torch.addcmul(shift, raw, gain).max(1).values
        return pooled if quantizer is None else self._activation(quantizer, pooled, None)[0]

    def _weight(self, layer: QuantConv1d) -> Tensor:
        return quantized_weight(layer)[0] if self.quantized else _masked(layer, layer.weight)

    def _steps(self, quantizers: list[QuantReLU], channels: int) -> tuple[Tensor | None, int]:
        """Return the steps (C,) of the quantizers that share a layer, and the last level."""
        top = 2 ** self._bits[id(quantizers[0])] - 1
        if not self.quantized:
            return None, top
        steps = torch.stack([step_of(quantizer) for quantizer in quantizers])
        steps = steps.abs().clamp_min(SMALLEST_STEP) / top
        return steps.repeat_interleave(channels // len(quantizers)), top

    def _signed_steps(
        self, quantizer: QuantIdentity | None, channels: int
    ) -> tuple[Tensor | None, int]:
        """Return steps (C,) and bits of a block quantizer; None: there is none, or it is off."""
        if quantizer is None or not self.quantized:
            return None, 1
        bits = self._bits[id(quantizer)]
        step = step_of(quantizer).abs().clamp_min(SMALLEST_STEP) / 2 ** (bits - 1)
        return step.repeat(channels), bits

    def calibrate(self, x: Tensor, quantile: float = 0.9995) -> None:
        """Set the ranges of the activation quantizers to a quantile of what they receive.

        Learned steps of weights become those with the least squared error. A class of the user's
        calibrates as its quantizers say, on these frames rather than over its first batches: what
        Brevitas collects meanwhile is not in a checkpoint, and an interrupted run would differ.

        Args:
            x: frames (N, 2, 1024); some hundred are enough.
            quantile: share of the values within the range.
        """
        if self._foreign:
            network = self._network[0].train()
            with torch.no_grad(), calibration_mode(network):
                network(x)
            return
        with torch.no_grad():
            fit_weight_ranges(self._network[0])
            self._run(self._network[0], x, quantile)

    def _run(
        self, layer: nn.Module, x: Tensor, quantile: float | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the layer's output and the step of its values (None in floating point)."""
        step = None
        match layer:
            case QuantHardTanh():
                levels = 2 ** (self._bits[id(layer)] - 1)
                step = x.new_tensor(2 / levels)
                x = torch.div(x, step).round_().clamp_(-levels, levels - 1).mul_(step)
            case QuantReLU() | QuantIdentity():
                x, step = self._activation(layer, x, quantile)
            case QuantConv1d():
                x = _convolution(layer, x, self._weight(layer))
            case nn.BatchNorm1d():
                x = batch_norm(layer, x)
            case nn.MaxPool1d(kernel_size=int(size)) if x.ndim == 4:
                x = F.max_pool2d(x, (1, size))
            case nn.MaxPool1d(kernel_size=int(size)) if x.requires_grad and self.quantized:
                x = max_pool(x, size)
            case nn.MaxPool1d() | nn.Flatten() | Mean():
                x = layer(x)
            case Residual():
                x, _ = self._run(layer.quantize, x, quantile)
                # One range for both terms: that of the first.
                branch, _ = self._run(layer.branch, x, quantile)
                x, step = self._run(
                    layer.after, x + self._run(layer.quantize, branch, None)[0], quantile
                )
            case nn.ModuleList() | QuantLinear():
                raise TypeError(f"{type(layer).__name__} is run by its parent")
            case _ if hasattr(layer, "branch1"):
                x = torch.cat([self._run(b, x, quantile)[0] for b in layer.children()], dim=1)
            case _:
                for child in layer.children():
                    if isinstance(child, QuantLinear):
                        x, step = self._linear(child, x, step), None
                    else:
                        x, step = self._run(child, x, quantile)
        return x, step

    def _activation(
        self, layer: QuantReLU | QuantIdentity, x: Tensor, quantile: float | None
    ) -> tuple[Tensor, Tensor | None]:
        bits, unsigned = self._bits[id(layer)], isinstance(layer, QuantReLU)
        if unsigned:
            x = F.relu(x)
        top = 2**bits - 1 if unsigned else 2 ** (bits - 1) - 1
        if quantile is not None:
            values = x.abs().flatten()
            values = values[:: max(1, len(values) >> 20)]
            level = values.kthvalue(max(int(quantile * len(values)), 1)).values
            set_range(layer, level.clamp_min(1e-3))
        if not self.quantized:
            return x, None
        step = step_of(layer).abs().clamp_min(SMALLEST_STEP) / (top if unsigned else top + 1)
        return FakeQuant.apply(x, step, 0 if unsigned else -top - 1, top), step

    def _linear(self, layer: QuantLinear, x: Tensor, step: Tensor | None) -> Tensor:
        if not self.quantized:
            return F.linear(x, layer.weight, layer.bias)
        weight, weight_step = quantized_weight(layer)
        bias = layer.bias
        if bias is not None and layer.bias_quant.is_quant_enabled:
            assert step is not None, "such a layer has a quantizer in front of it"
            # A 32-bit integer in units of the products.
            unit = (step * weight_step.flatten()).detach()
            bias = bias + ((bias / unit).round() * unit - bias).detach()
        return F.linear(x, weight, bias)


def _convolution(layer: QuantConv1d, x: Tensor, weight: Tensor) -> Tensor:
    """Convolve (N, C, L), or (N, C, 1, L), whatever its order in memory."""
    if x.ndim == 3:
        return F.conv1d(x, weight, layer.bias, layer.stride, layer.padding, 1, layer.groups)
    stride, padding = (1, *layer.stride), (0, *layer.padding)
    return F.conv2d(x, weight.unsqueeze(2), layer.bias, stride, padding, 1, layer.groups)


def max_pool(x: Tensor, size: int) -> Tensor:
    """Pool (N, C, L); of values that are equal but for rounding the first takes the gradient.

    Sums of the same integers in another order are equal, times their steps they differ in the last
    bit: which one is larger would be another one in a process with another part of the batch.
    """
    values = x.detach()
    unit = values.abs().amax().clamp_min(SMALLEST_STEP) * torch.finfo(x.dtype).eps ** (2 / 3)
    _, first = F.max_pool1d((values / unit).round(), size, return_indices=True)
    taken = x.gather(2, first)
    return F.max_pool1d(values, size) + (taken - taken.detach())


def fits_kernels(network: nn.Module) -> TypeGuard[AaronNet | HardwareAaronNet]:
    """Return whether `training.kernels` run a network: an AaronNet, not wide, of 1024 samples.

    The branches of the paper's form share a layer, and so need the same bits of their ReLUs.
    """
    return (
        isinstance(network, AaronNet | HardwareAaronNet)
        and network.config.length == FRAME_LENGTH  # the kernels' first layer is written for it
        and max(network.config.filters) <= kernels.WIDEST
        and _alike(network)
        and kernels.library() is not None
    )


def _alike(network: AaronNet | HardwareAaronNet) -> bool:
    if isinstance(network, HardwareAaronNet):
        return True
    branches: Iterable[Any] = network.expand.children()
    return len({bits_of(branch[2]) for branch in branches}) == 1


def _block_quantizer(stage: Any) -> QuantIdentity | None:
    """Return the quantizer behind a branch's or block's last batch norm, if there is one."""
    return stage[5] if len(stage) > 5 and isinstance(stage[5], QuantIdentity) else None


def runs_channels_last(network: nn.Module) -> bool:
    """Return whether to train with the channels last in memory: VGG10, twice as fast on CPUs.

    Evaluation keeps the order of torch's layers, and so their rounding, bit by bit.
    """
    return network.training and isinstance(network, VGG10)


def batch_norm(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    """Normalise (N, C, ...); while training in several processes, over all their batches.

    torch's SyncBatchNorm does this on GPUs only.
    """
    if not norm.training or _processes() == 1:
        if x.ndim < 4:
            return norm(x)
        mean, var, batches = statistics_of(norm)
        batches += 1  # what BatchNorm1d would do, had it not asked for (N, C, L)
        momentum = _momentum(norm)
        return F.batch_norm(x, mean, var, norm.weight, norm.bias, True, momentum, norm.eps)
    dims = tuple(dim for dim in range(x.ndim) if dim != 1)
    var, mean = torch.var_mean(x, dims, correction=0)
    gain, shift = normalisation([norm], mean, var, x.numel() // x.shape[1])
    shape = (1, -1) + (1,) * (x.ndim - 2)
    return x * gain.view(shape) + shift.view(shape)


def normalisation(
    norms: list[nn.BatchNorm1d], mean: Tensor, var: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Return batch norm as gain and shift (C,), and update the running statistics.

    Args:
        norms: share the channels among them, in order.
        mean: (C,) of this batch; ignored unless training.
        var: (C,), without correction.
        count: values a channel.
    """
    weight = torch.cat([norm.weight for norm in norms])
    bias = torch.cat([norm.bias for norm in norms])
    if norms[0].training:
        if (processes := _processes()) > 1:
            both = torch.cat([mean, var + mean.square()])
            mean, square = (collectives.functional.all_reduce(both) / processes).chunk(2)
            var, count = square - mean.square(), count * processes
        with torch.no_grad():
            sizes = [norm.num_features for norm in norms]
            for norm, m, v in zip(norms, mean.split(sizes), var.split(sizes), strict=True):
                running_mean, running_var, batches = statistics_of(norm)
                running_mean.lerp_(m, _momentum(norm))
                running_var.lerp_(v * (count / (count - 1)), _momentum(norm))
                batches += 1
    else:
        mean = torch.cat([statistics_of(norm)[0] for norm in norms])
        var = torch.cat([statistics_of(norm)[1] for norm in norms])
    gain = weight * torch.rsqrt(var + norms[0].eps)
    return gain, bias - mean * gain


def _momentum(norm: nn.BatchNorm1d) -> float:
    assert norm.momentum is not None, "torch's default is 0.1"
    return norm.momentum


def _processes() -> int:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 1
    return torch.distributed.get_world_size()


def initialise_ranges(network: nn.Module) -> None:
    """Give every activation quantizer of an untrained network a range, for the twin to calibrate.

    Brevitas would otherwise collect statistics over the first 300 batches, in an order of its own.
    """
    for layer in network.modules():
        if isinstance(layer, QuantReLU | QuantIdentity):
            set_range(layer, torch.tensor(1.0))


def fit_weight_ranges(network: nn.Module) -> None:
    """Set learned weight steps to those with the least squared error."""
    for layer in network.modules():
        if isinstance(layer, QuantConv1d | QuantLinear):
            scaling = layer.weight_quant.tensor_quant.scaling_impl
            if isinstance(scaling, ParameterScaling):
                scaling.value.copy_(weight_range(layer, scaling.value.ndim > 0))


def set_range(quantizer: QuantReLU | QuantIdentity, value: Tensor) -> None:
    """Set the range of an activation quantizer: a positive scalar."""
    # Loading is what tells Brevitas that its own collection of statistics is over.
    scaling_of(quantizer).load_state_dict({"value": value}, strict=False)
