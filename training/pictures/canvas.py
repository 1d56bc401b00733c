"""What every picture needs: figures, and ways to write them."""

import base64
import io
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure

from models.errors import BadInput
from models.files import atomic, check_target

WIDTH, DPI = 8.0, 130


def one_plot(height: float) -> tuple[Figure, Axes]:
    """Return a figure with one plot, `height` inches high."""
    # Without pyplot, whose backend is the caller's choice: a notebook shows figures of its own.
    figure = Figure(figsize=(WIDTH, height))
    return figure, figure.subplots()


def png(figure: Figure) -> bytes:
    """Return a figure as PNG, cut to what is drawn."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight")
    return buffer.getvalue()


def data_uri(image: bytes) -> str:
    """Return a PNG as what an HTML page can hold."""
    return "data:image/png;base64," + base64.b64encode(image).decode()


def check_picture(picture: str | Path) -> None:
    """Refuse a picture that cannot be drawn or written, before the work rather than after.

    Raises:
        BadInput: the suffix stands for no known format, or the file cannot be written.
    """
    known = FigureCanvasBase.get_supported_filetypes()
    if Path(picture).suffix.lower()[1:] not in known:
        raise BadInput(f"{picture}: no picture format; choose a name that ends in .png, .svg, .pdf")
    check_target(picture)


def save(figure: Figure, picture: str | Path) -> None:
    """Write a figure in the format that the suffix of `picture` names.

    Raises:
        BadInput: `picture` cannot be written.
    """
    with atomic(picture) as temporary:
        figure.savefig(temporary, dpi=DPI)
