"""Commands on networks: what one costs, and how it looks as QONNX."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models import zoo

if TYPE_CHECKING:
    from models.checkpoint import Checkpoint
    from models.user_code import Trust

DATA = "Data file in RadioML 2018.01A's layout (HDF5)"


def complete_network(incomplete: str) -> list[str]:
    """Return what a shell offers where a network is asked for: the zoo's names, files, folders."""
    names = [entry.name for entry in zoo.entries()]
    folder, slash, begin = incomplete.rpartition("/")
    networks = [
        f"{folder}{slash}{path.name}{'/' * path.is_dir()}"
        for path in sorted(Path(folder or (slash or ".")).glob("*"))
        if path.name.startswith(begin) and (path.is_dir() or path.suffix in (".pth", ".onnx"))
    ]
    return [name for name in names if name.startswith(incomplete)] + networks


def checked_target(path: Path | None) -> Path | None:
    """Look whether a file that is written after the work can be written, before it.

    Raises:
        BadInput: it cannot.
    """
    from models.files import check_target

    if path is not None:
        check_target(path)
    return path


# Options that several commands have, with the same words everywhere.
CheckpointFile = Annotated[
    str,
    typer.Argument(
        help="A checkpoint (.pth), or a name of the zoo.", autocompletion=complete_network
    ),
]
OutCheckpoint = Annotated[
    Path,
    typer.Option("--out", "-o", help="The checkpoint to write (.pth).", callback=checked_target),
]
Data = Annotated[Path, typer.Option("--data", help=f"{DATA}.")]
Device = Annotated[str, typer.Option("--device", help="cpu, gpu, or auto: a GPU if there is one.")]
Json = Annotated[
    Path | None,
    typer.Option("--json", help="Write the facts to this file.", callback=checked_target),
]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Of everything random.")]
"""Within what numpy, torch and Lightning take."""
TrustRemembered = Annotated[
    bool,
    typer.Option(
        "--trust", help="Let the code run that a checkpoint of your own class needs, if unchanged."
    ),
]
Code = Annotated[
    Path | None,
    typer.Option("--code", help="Let this file run for it, whatever has become of it."),
]
ValidationFrames = Annotated[
    int,
    typer.Option(min=0, help="Of the training frames, to choose the best on; 0: the test frames."),
]
Model = Annotated[
    str | None,
    typer.Option(
        help="Configuration the checkpoint must have (vgg10, bacalhaunet, aaronnet32, 48 or 128)."
    ),
]
Filters = Annotated[
    str | None, typer.Option(help="Filter counts, comma separated, e.g. 33,32,32,32,32,40.")
]
InputBits = Annotated[int | None, typer.Option(min=2, max=16, help="Bits of the input.")]
WeightBits = Annotated[int | None, typer.Option(min=2, max=16, help="Bits of the weights.")]
ActBits = Annotated[int | None, typer.Option(min=2, max=16, help="Bits of the activations.")]
_BITS = typer.Option(
    "--bits", help="Of all weights and activations, or a YAML file (docs/models.md)."
)
BitsOption = Annotated[str, _BITS]
BitsFile = Annotated[str | None, _BITS]


def torch_device(name: str) -> str:
    """Return torch's name, cpu or cuda, of what `--device` says.

    Raises:
        BadInput: another name, or there is no GPU.
    """
    import torch

    from models.errors import BadInput

    if name not in ("auto", "cpu", "gpu"):
        raise BadInput(f"unknown device {name!r}; use cpu, gpu or auto")
    if name == "gpu" and not torch.cuda.is_available():
        raise BadInput("torch finds no GPU here; use --device cpu")
    return "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"


def open_checkpoint(
    path: str,
    model: str | None = None,
    filters: str | None = None,
    *,
    trust: "Trust",
    **bits: int | None,
) -> "Checkpoint":
    """Load `path` as the configuration named `model` with the given changes.

    Without any the file says what it is; bit widths change alone, since they leave no trace in
    the shapes.

    Raises:
        BadInput: the file or the configuration is unusable, or they do not fit together.
    """
    from models import checkpoint
    from models.config import named_config

    if model is None and filters is None and not any(bits.values()):
        return checkpoint.load(path, trust=trust)
    own = "another --model, --filters or bits"
    given = checkpoint.load(path, only_ours=own).ours(own)
    config = named_config(model) if model else given
    return checkpoint.load(path, config.changed(filters=parse_filters(filters), **bits))


def parse_filters(text: str | None) -> tuple[int, ...] | None:
    """Read "33,32,40" as (33, 32, 40).

    Raises:
        BadInput: a part is no whole number.
    """
    from models.errors import BadInput

    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise BadInput(
            f"filters must be whole numbers separated by commas, not {text!r}"
        ) from error


def cost(
    network: Annotated[
        str,
        typer.Argument(
            help="A checkpoint (.pth), a name of the zoo, or a model (.onnx).",
            autocompletion=complete_network,
        ),
    ],
    layers: Annotated[
        bool, typer.Option("--breakdown", "--layers", help="One row a layer.")
    ] = False,
    json: Json = None,
    model: Model = None,
    filters: Filters = None,
    input_bits: InputBits = None,
    weight_bits: WeightBits = None,
    act_bits: ActBits = None,
    trust: TrustRemembered = False,
    code: Code = None,
) -> None:
    """Count a network's official inference cost and its score against the VGG10 baseline."""
    from models.console import print_table
    from models.cost import inference_cost
    from models.errors import BadInput
    from models.export import load_onnx, read_metadata
    from models.files import write_json
    from models.user_code import Trust

    changes = {"input_bits": input_bits, "weight_bits": weight_bits, "act_bits": act_bits}
    if network.endswith(".onnx"):
        if model or filters or any(changes.values()):
            raise BadInput("--model, --filters and bit widths change checkpoints, not model files")
        graph = load_onnx(network)
        metadata = read_metadata(graph)
        name, data_label = graph.graph.name or network, metadata.get("data_label", "unknown")
        counted = inference_cost(graph, network)
    else:
        allowed = Trust(trust, code)
        loaded = open_checkpoint(network, model, filters, trust=allowed, **changes)
        name, data_label = loaded.config.name, loaded.data_label
        counted = inference_cost(loaded, network)
    if json:
        about = {"network": name, "file": network, "trained_on": data_label}
        write_json(json, about | counted.to_dict())
    columns = ("score", "bit_ops", "weight_bits", "macs", "nonzero_weights")
    if layers:
        print_table(
            f"{name}, by layer",
            ("layer", *columns),
            (
                [layer.name, *(_shown(getattr(layer, column)) for column in columns)]
                for layer in counted.layers
            ),
        )
    rows = [[column, _shown(getattr(counted, column))] for column in columns]
    rows.append(["compression", f"{counted.compression:.2f}x" if counted.compression else "-"])
    rows.append(["trained on", data_label])
    rows += [["warning", warning] for warning in counted.warnings]
    rows += [["note", counted.note]] if counted.note else []
    print_table(f"{name}: official inference cost (VGG10 w8a8 = 1)", ("fact", "value"), rows)


def _shown(value: float) -> str:
    return f"{value:.6f}" if isinstance(value, float) else f"{value:,}"


def export(
    checkpoint: CheckpointFile,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="The QONNX file to write.", callback=checked_target),
    ],
    json: Json = None,
    model: Model = None,
    filters: Filters = None,
    input_bits: InputBits = None,
    weight_bits: WeightBits = None,
    act_bits: ActBits = None,
    trust: TrustRemembered = False,
    code: Code = None,
) -> None:
    """Write a checkpoint as a static QONNX file, for input (1, 2, L) if it is one of ours."""
    from models import export as exporter
    from models.console import print_table
    from models.files import write_json
    from models.user_code import Trust

    loaded = open_checkpoint(
        checkpoint,
        model,
        filters,
        trust=Trust(trust, code),
        input_bits=input_bits,
        weight_bits=weight_bits,
        act_bits=act_bits,
    )
    digest = exporter.export(loaded, out)
    facts = {
        "network": loaded.config.name,
        "checkpoint_sha256": loaded.info["sha256"],
        "trained_on": loaded.data_label,
        "model": str(out),
        "model_sha256": digest,
    }
    if json:
        write_json(json, facts)
    print_table(f"exported {out}", ("fact", "value"), facts.items())
