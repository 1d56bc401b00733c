"""AaronNet's layers for training on processors: compiled on first use, called through ctypes.

torch's general layers pass over every activation some twenty times a step, and memory is what
limits them on a processor. Here a layer is one pass forwards and one backwards; see kernels.cpp.
Where there is no g++ the plain `Twin` computes the same, only slower.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.cache_folder import cache_folder
from models.errors import BadInput
from models.files import writable_folder

SOURCE = Path(__file__).with_name("kernels.cpp")
FLAGS = (
    *("-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-ffinite-math-only"),
    *("-fno-signed-zeros", "-fopenmp", "-std=c++17"),
)
WIDEST = 48
"""Channels; wider networks run on torch's layers."""

POSITIONS, TAPS = 257, 32


@functools.cache
def library() -> ctypes.CDLL | None:
    """Return the compiled kernels; None, with a warning, if they cannot be had here.

    They are kept in the folder for caches, by source and processor. AARONNET_KERNELS=0 does
    without.
    """
    if os.environ.get("AARONNET_KERNELS") == "0":
        return None
    compiler = shutil.which("g++")
    if compiler is None:
        warnings.warn("no g++ found: training runs on torch's layers, slower", stacklevel=2)
        return None
    key = SOURCE.read_bytes() + " ".join((*FLAGS, _processor())).encode()
    path = cache_folder() / f"kernels-{hashlib.sha256(key).hexdigest()[:16]}.so"
    if not path.is_file() and (problem := _compile(compiler, path)):
        warnings.warn(
            f"the kernels do not compile: training runs on torch's layers, slower\n{problem}",
            stacklevel=2,
        )
        return None
    return ctypes.CDLL(str(path))


def _compile(compiler: str, path: Path) -> str | None:
    """Write the library to `path`, whole or not at all; return what went wrong."""
    try:
        with tempfile.TemporaryDirectory(dir=writable_folder(path.parent)) as folder:
            made = Path(folder) / path.name
            command = [compiler, *FLAGS, "-shared", "-fPIC", str(SOURCE), "-o", str(made)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                return done.stderr
            made.replace(path)
    except BadInput as error:
        return str(error)
    return None


def _processor() -> str:
    """Name what -march=native depends on."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return platform.processor()
    return next((line for line in info.read_text().splitlines() if line.startswith("flags")), "")


def _call(name: str, *arguments: Any) -> None:
    """Call a kernel: tensors as pointers, None as null, int as C's int, then the thread count."""
    converted: list[Any] = []
    for value in arguments:
        if value is None:
            converted.append(ctypes.c_void_p(None))
        elif isinstance(value, Tensor):
            converted.append(ctypes.c_void_p(value.data_ptr()))
        elif isinstance(value, float):
            converted.append(ctypes.c_float(value))
        else:
            converted.append(value)
    getattr(library(), name)(*converted, torch.get_num_threads())


def _statistics(sums: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    mean, square = (sums / rows).view(2, -1)
    return mean.float(), (square - mean.square()).clamp_min(0).float()


def _affine(grad_mean: Tensor, grad_var: Tensor, mean: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Return what the statistics add to an output's gradient, alpha + beta * output."""
    beta = (2 / rows) * grad_var
    return (grad_mean / rows - beta * mean).contiguous(), beta.contiguous()


def _width(channels: int) -> int:
    kernels = library()
    assert kernels is not None, "who calls has asked"
    return kernels.width(channels)


def _rows(batch: int, length: int, channels: int) -> Tensor:
    """Return room for (B, L, C) as the kernels keep it: positions are padded to whole vectors."""
    return torch.empty(batch, length, _width(channels))[:, :, :channels]


def _laid(x: Tensor) -> Tensor:
    """Return (B, L, C) as the kernels keep it; copied if it lies otherwise, as torch's results."""
    batch, length, channels = x.shape
    wide = _width(channels)
    if x.stride() == (length * wide, wide, 1):
        return x
    laid = torch.zeros(batch, length, wide)[:, :, :channels]
    return laid.copy_(x)


class Stem(torch.autograd.Function):
    """The MSC's three strided convolutions as one of 32 taps, (B, 2, 1024) -> (B, 257, F).

    Returns the output and its channels' mean and variance.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take frames, weight (F, 2, 32) and bias (F,)."""
        x, weight, bias = x.contiguous(), weight.contiguous(), bias.contiguous()
        filters = len(weight)
        out = _rows(len(x), POSITIONS, filters)
        sums = x.new_empty(2 * filters, dtype=torch.float64)
        _call("stem_fwd", x, ctypes.c_long(len(x)), filters, weight, bias, out, sums)
        mean, var = _statistics(sums, len(x) * POSITIONS)
        ctx.save_for_backward(x, out, mean)
        return out, mean, var

    @staticmethod
    def backward(ctx, grad: Tensor, grad_mean: Tensor, grad_var: Tensor) -> tuple:
        """Return the gradients of weight and bias."""
        x, out, mean = ctx.saved_tensors
        filters = out.shape[2]
        alpha, beta = _affine(grad_mean, grad_var, mean, len(x) * POSITIONS)
        grads = x.new_empty(filters * (2 * TAPS + 1), dtype=torch.float64)
        _call(
            *("stem_bwd", x, out, _laid(grad), ctypes.c_long(len(x)), filters),
            *(alpha, beta, grads),
        )
        weight, bias = grads.float().split([filters * 2 * TAPS, filters])
        return None, weight.view(filters, 2, TAPS), bias


class Pointwise(torch.autograd.Function):
    """Batch norm, ReLU, quantizer and 1x1 convolution, (B, L, C) -> (B, L, D), with statistics."""

    @staticmethod
    def forward(
        ctx,
        raw: Tensor,
        gain: Tensor,
        shift: Tensor,
        step: Tensor | None,
        top: int,
        weight: Tensor,
        bias: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Take the output before batch norm; gain, shift and step (C,); weight (D, C), bias (D,).

        Without `step` nothing is quantized, else to whole steps up to `top` of them.
        """
        batch, length, inputs = raw.shape
        outputs, rows = len(weight), batch * length
        gain, shift, weight, bias = (t.contiguous() for t in (gain, shift, weight, bias))
        step = None if step is None else step.contiguous()
        raw, out = _laid(raw), _rows(batch, length, outputs)
        sums = raw.new_empty(2 * outputs, dtype=torch.float64)
        _call(
            *("pointwise_fwd", raw, ctypes.c_long(rows), inputs, outputs),
            *(gain, shift, step, float(top), weight, bias, out, sums),
        )
        mean, var = _statistics(sums, rows)
        ctx.save_for_backward(raw, out, mean, gain, shift, weight, step)
        ctx.top = float(top)
        return out, mean, var

    @staticmethod
    def backward(ctx, grad: Tensor, grad_mean: Tensor, grad_var: Tensor) -> tuple:
        """Return the gradients of all tensors."""
        raw, out, mean, gain, shift, weight, step = ctx.saved_tensors
        batch, length, inputs = raw.shape
        outputs, rows = len(weight), batch * length
        alpha, beta = _affine(grad_mean, grad_var, mean, rows)
        grad_raw = _rows(batch, length, inputs)
        sizes = [outputs * inputs, outputs, inputs, inputs, inputs]
        grads = raw.new_empty(sum(sizes), dtype=torch.float64)
        _call(
            *("pointwise_bwd", raw, out, _laid(grad), ctypes.c_long(rows), inputs, outputs),
            *(gain, shift, step, ctx.top, weight, alpha, beta, grad_raw, grads),
        )
        grad_weight, bias, *rest = grads.float().split(sizes)
        grad_gain, grad_shift, grad_step = rest
        return (
            *(grad_raw, grad_gain, grad_shift, None if step is None else grad_step, None),
            *(grad_weight.view(outputs, inputs), bias),
        )


class Depthwise(torch.autograd.Function):
    """Batch norm, pooling, quantizer and 3-tap depthwise convolution, with statistics.

    (B, L, C) -> (B, L // by, C). Hardware quantizes before it pools: the numbers are the same.
    """

    @staticmethod
    def forward(
        ctx,
        raw: Tensor,
        gain: Tensor,
        shift: Tensor,
        step: Tensor | None,
        bits: int,
        by: int,
        weight: Tensor,
        bias: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Take the output before batch norm; gain, shift and step (C,); weight (3, C), bias (C,).

        Without `step` nothing is quantized, else to signed integers of so many bits.
        """
        batch, length, channels = raw.shape
        gain, shift, weight, bias = (t.contiguous() for t in (gain, shift, weight, bias))
        step = None if step is None else step.contiguous()
        levels = 2.0 ** (bits - 1)
        ctx.by, ctx.range = by, (-levels, levels - 1)
        raw, out = _laid(raw), _rows(batch, length // by, channels)
        sums = raw.new_empty(2 * channels, dtype=torch.float64)
        _call(
            *("depthwise_fwd", raw, ctypes.c_long(batch), length, channels, by),
            *(gain, shift, step, *ctx.range, weight, bias, out, sums),
        )
        mean, var = _statistics(sums, out.numel() // channels)
        ctx.save_for_backward(raw, out, mean, gain, shift, weight, step)
        return out, mean, var

    @staticmethod
    def backward(ctx, grad: Tensor, grad_mean: Tensor, grad_var: Tensor) -> tuple:
        """Return the gradients of all tensors."""
        raw, out, mean, gain, shift, weight, step = ctx.saved_tensors
        batch, length, channels = raw.shape
        alpha, beta = _affine(grad_mean, grad_var, mean, out.numel() // channels)
        grad_raw = _rows(batch, length, channels)
        grads = raw.new_empty(7, channels, dtype=torch.float64)
        _call(
            *("depthwise_bwd", raw, out, _laid(grad), ctypes.c_long(batch), length),
            *(channels, ctx.by, gain, shift, step, *ctx.range, weight, alpha, beta),
            *(grad_raw, grads),
        )
        grads = grads.float()
        grad_step = None if step is None else grads[6]
        return grad_raw, grads[4], grads[5], grad_step, None, None, grads[:3], grads[3]
