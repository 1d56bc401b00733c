"""The networks' arithmetic in plain torch operations, for training.

Brevitas computes fake quantization through some forty small modules a layer, and cannot switch it
off. A `Twin` runs a network's own parameters through one autograd function a quantizer instead
(fewer passes over memory, same numbers), in floating point or quantized. It owns no parameters: the
network that it was made from is trained, saved and exported.
"""

import torch
import torch.nn.functional as F
from brevitas.nn import QuantConv1d, QuantHardTanh, QuantIdentity, QuantLinear, QuantReLU
from torch import Tensor, nn
from torch.distributed import nn as collectives

SMALLEST_STEP = 1e-10  # as Brevitas's scaling_min_val


class FakeQuant(torch.autograd.Function):
    """round(x / step) * step within [low, high] steps.

    Gradients are those of Brevitas: straight through the rounding, none to x outside the range, and
    to the step what that leaves (Esser et al., "Learned Step Size Quantization", 2020, eq. 3).
    """

    @staticmethod
    def forward(ctx, x: Tensor, step: Tensor, low: int, high: int) -> Tensor:
        """Return x on the grid; `step` is a scalar tensor."""
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
        grad_step = torch.dot(grad.reshape(-1), error.reshape(-1)).reshape(step.shape)
        return grad_x, grad_step, None, None


def step_of(quantizer: QuantReLU | QuantIdentity) -> nn.Parameter:
    """Return the parameter that holds a learned activation quantizer's range."""
    return quantizer.act_quant.fused_activation_quant_proxy.tensor_quant.scaling_impl.value


def quantized_weight(layer: QuantConv1d | QuantLinear) -> tuple[Tensor, Tensor]:
    """Return the weight on its grid, and the grid's step: the largest weight is the last level."""
    top = 2 ** (_weight_bits(layer) - 1) - 1
    step = layer.weight.abs().max().clamp_min(SMALLEST_STEP) / top
    return _masked(layer, FakeQuant.apply(layer.weight, step, -top, top)), step


def _masked(layer: nn.Module, weight: Tensor) -> Tensor:
    """Keep gradients from weights that are zero by construction (`models.hardware`)."""
    mask = getattr(layer, "mask", None)
    return weight if mask is None else weight * mask


def _weight_bits(layer: nn.Module) -> int:
    quantizer = layer.weight_quant.tensor_quant
    return int(quantizer.msb_clamp_bit_width_impl.bit_width.value)


def _act_bits(quantizer: nn.Module) -> int:
    inner = quantizer.act_quant.fused_activation_quant_proxy.tensor_quant
    return int(inner.msb_clamp_bit_width_impl.bit_width.value)


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
        self._bits = {
            id(layer): _act_bits(layer)
            for layer in network.modules()
            if isinstance(layer, QuantReLU | QuantIdentity | QuantHardTanh)
        }

    def forward(self, x: Tensor) -> Tensor:
        """Return the class scores (N, 24) of frames (N, 2, 1024)."""
        return self._run(self._network[0], x, None)[0]

    def calibrate(self, x: Tensor, quantile: float = 0.9995) -> None:
        """Set the ranges of the activation quantizers to a quantile of what they receive.

        Args:
            x: frames (N, 2, 1024); some hundred are enough.
            quantile: share of the values within the range.
        """
        with torch.no_grad():
            self._run(self._network[0], x, quantile)

    def _run(self, layer: nn.Module, x: Tensor, quantile: float | None) -> tuple[Tensor, Tensor]:
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
                weight = (
                    quantized_weight(layer)[0] if self.quantized else _masked(layer, layer.weight)
                )
                x = F.conv1d(x, weight, layer.bias, layer.stride, layer.padding, 1, layer.groups)
            case nn.BatchNorm1d():
                x = batch_norm(layer, x)
            case nn.MaxPool1d() | nn.Flatten():
                x = layer(x)
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
        self, layer: nn.Module, x: Tensor, quantile: float | None
    ) -> tuple[Tensor, Tensor | None]:
        bits, unsigned = self._bits[id(layer)], isinstance(layer, QuantReLU)
        if unsigned:
            x = F.relu(x)
        top = 2**bits - 1 if unsigned else 2 ** (bits - 1) - 1
        if quantile is not None:
            values = x.abs().flatten()
            values = values[:: max(1, len(values) >> 20)]
            level = values.kthvalue(max(int(quantile * len(values)), 1)).values
            proxy = layer.act_quant.fused_activation_quant_proxy.tensor_quant.scaling_impl
            # Loading is what tells Brevitas that its own collection of statistics is over.
            proxy.load_state_dict({"value": level.clamp_min(1e-3)}, strict=False)
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
            # A 32-bit integer in units of the products.
            unit = (step * weight_step).detach()
            bias = bias + ((bias / unit).round() * unit - bias).detach()
        return F.linear(x, weight, bias)


def batch_norm(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    """Normalise; while training in several processes, over the batches of all of them.

    torch's SyncBatchNorm does this on GPUs only.
    """
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    if not (norm.training and distributed and torch.distributed.get_world_size() > 1):
        return norm(x)
    dims = tuple(dim for dim in range(x.ndim) if dim != 1)
    local = torch.cat([x.mean(dims), x.square().mean(dims)])
    mean, square = (
        collectives.functional.all_reduce(local) / torch.distributed.get_world_size()
    ).chunk(2)
    var = square - mean.square()
    with torch.no_grad():
        count = x.numel() / x.shape[1] * torch.distributed.get_world_size()
        norm.running_mean.lerp_(mean, norm.momentum)
        norm.running_var.lerp_(var * count / (count - 1), norm.momentum)
        norm.num_batches_tracked += 1
    gain = norm.weight * torch.rsqrt(var + norm.eps)
    shape = (1, -1) + (1,) * (x.ndim - 2)
    return x * gain.view(shape) + (norm.bias - mean * gain).view(shape)


def initialise_ranges(network: nn.Module) -> None:
    """Give every activation quantizer of an untrained network a range, for the twin to calibrate.

    Brevitas would otherwise collect statistics over the first 300 batches, in an order of its own.
    """
    for layer in network.modules():
        if isinstance(layer, QuantReLU | QuantIdentity):
            scaling = layer.act_quant.fused_activation_quant_proxy.tensor_quant.scaling_impl
            scaling.load_state_dict({"value": torch.tensor(1.0)}, strict=False)
