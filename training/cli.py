"""Commands that train: `train` and `prune`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.cli import (
    DATA,
    ActBits,
    BitsFile,
    CheckpointFile,
    Code,
    Filters,
    InputBits,
    Json,
    Seed,
    TrustRemembered,
    ValidationFrames,
    WeightBits,
    torch_device,
)

if TYPE_CHECKING:
    from models.checkpoint import Checkpoint
    from models.foreign import Config
    from training.cache import CacheKind
    from training.data import LabelledData
    from training.distill import Distillation

Data = Annotated[
    Path | None,
    typer.Option(help=f"{DATA}; without one, fresh frames are synthesised without end."),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for checkpoints and logs.")]
Batch = Annotated[int, typer.Option(min=1, max=1 << 16, help="Frames a batch and process.")]
MinSnr = Annotated[int, typer.Option(help="Leave frames below so many dB out of training.")]
Teacher = Annotated[str | None, typer.Option(help="Checkpoint of a network to learn from.")]
Share = Annotated[float, typer.Option(min=0, max=1, help="The teacher's part of the loss.")]
Temperature = Annotated[float, typer.Option(min=0.1, help="Softens both distributions.")]
EpochFrames = Annotated[
    int | None, typer.Option(min=1, help="Frames of an epoch; by default the file's, or 262144.")
]
# --accelerator and --devices are what these two were called first.
Where = Annotated[
    str,
    typer.Option("--device", "--accelerator", help="cpu, gpu, or auto: a GPU if there is one."),
]
Processes = Annotated[
    int, typer.Option("--processes", "--devices", min=1, help="On this machine; a GPU each.")
]
Precision = Annotated[
    str, typer.Option(help="32-true, bf16-mixed, 16-mixed; auto: bf16-mixed on GPUs only.")
]
Resume = Annotated[bool, typer.Option(help="Go on with the run that --out holds.")]


def _source(
    data: Path | None,
    batch_size: int,
    min_snr: int,
    seed: int,
    epoch_frames: int | None,
    validation: int = 0,
    kind: "CacheKind | None" = None,
) -> "LabelledData":
    from models.console import Bar
    from training.cache import OURS
    from training.data import RadioMLData, SyntheticData

    if data is None:
        frames = epoch_frames or 1 << 18
        return SyntheticData(batch_size, min_snr=min_snr, frames_per_epoch=frames, seed=seed)
    with Bar("caching") as progress:
        source = RadioMLData(
            *(data, batch_size),
            min_snr=min_snr,
            seed=seed,
            validation=validation,
            progress=progress,
            kind=kind or OURS,
        )
        source.setup()
    return source


def _kind(config: "Config | None", data: Path | None) -> "CacheKind":
    """Return how the data is to be kept for a network; None is a class that takes what it holds."""
    from deploy.board.radioml import Layout
    from training.cache import CacheKind
    from training.data import check_task, kind_for

    if data is not None:
        return kind_for(config, data)
    if config is not None:
        check_task(config, Layout(), "what is synthesised")
    return CacheKind()


def _sizes(data: Path | None) -> dict[str, int]:
    """Return the fields of a configuration of ours that follow the data."""
    from deploy.board.radioml import Layout, layout_of

    layout = Layout() if data is None else layout_of(data)
    return {"length": layout.samples, "classes": layout.classes}


def _own_class(text: str, data: Path | None) -> "Config":
    """Return the configuration of FILE.py:CLASS for frames of the data's sizes."""
    from models.probe import describe
    from models.user_code import load_class, parse_network

    origin, layout = load_class(*parse_network(text)), _kind(None, data).layout
    return describe(origin, layout.channels, layout.samples, layout.classes)


def _distillation(
    teacher: str | None,
    share: float,
    temperature: float,
    data: Path | None,
    start: "Config",
    trusted: bool,
) -> "Distillation | None":
    from models import checkpoint as checkpoints
    from models.errors import BadInput
    from models.foreign import frame_of_config
    from models.user_code import Trust
    from training.distill import Distillation

    if teacher is None:
        return None
    loaded = checkpoints.load(teacher, trust=Trust(trusted))
    if frame_of_config(loaded.config) != frame_of_config(start):
        raise BadInput(f"the teacher {teacher} is for other frames or classes than {start.name}")
    return Distillation(loaded.network, share, temperature, data is not None)


def _where(
    device: str,
    processes: int,
    nodes: int,
    precision: str,
    data: Path | None,
    epoch_frames: int | None,
    batch: int,
) -> dict[str, Any]:
    """Return what `training.train.train` needs to know about where to run."""
    import torch

    from models.errors import BadInput

    gpu = torch_device(device) == "cuda"
    if gpu and processes > torch.cuda.device_count():
        raise BadInput(f"{processes} processes, a GPU each: there are {torch.cuda.device_count()}")
    started = os.environ.get("WORLD_SIZE")
    if nodes > 1 and started is None:
        raise BadInput(f"{nodes} machines: start the command on each of them with torchrun")
    if started is not None and started != str(processes * nodes):
        raise BadInput(
            f"{started} processes were started, and {processes} on each of {nodes} machines asked "
            "for; --processes and --nodes must say what torchrun does"
        )
    if precision == "auto":
        precision = "bf16-mixed" if gpu else "32-true"
    if precision not in ("32-true", "bf16-mixed", "16-mixed"):
        raise BadInput(f"unknown precision {precision!r}; use 32-true, bf16-mixed or 16-mixed")
    batches = None
    if data is not None and epoch_frames is not None:
        batches = max(epoch_frames // (batch * processes * nodes), 1)
    return {
        "accelerator": "gpu" if gpu else "cpu",
        "devices": processes,
        "num_nodes": nodes,
        "precision": precision,
        "batches_per_epoch": batches,
    }


def train(
    out: Out,
    network: Annotated[
        str | None,
        typer.Argument(
            help="vgg10, bacalhaunet, aaronnet32, 48 or 128, a checkpoint, or a name of the zoo."
        ),
    ] = None,
    own: Annotated[
        str | None,
        typer.Option("--network", help="FILE.py:CLASS, a Brevitas module of yours, in its place."),
    ] = None,
    data: Data = None,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs in all.")] = 50,
    lr: Annotated[float, typer.Option(help="Peak learning rate of Adam.")] = 0.01,
    t0: Annotated[
        int, typer.Option(min=0, help="Epochs of a cosine cycle; 0: one cycle a phase.")
    ] = 5,
    float_epochs: Annotated[
        int, typer.Option(min=0, help="The first so many epochs run in floating point.")
    ] = 0,
    quantized_lr: Annotated[
        float | None, typer.Option(help="Peak learning rate after these; by default --lr.")
    ] = None,
    batch_size: Batch = 1024,
    min_snr: MinSnr = -14,
    weight_decay: Annotated[float, typer.Option(min=0, help="Decoupled (AdamW).")] = 0.0,
    label_smoothing: Annotated[
        float, typer.Option(min=0, max=0.99, help="Share of a label spread over all classes.")
    ] = 0.0,
    clip: Annotated[float | None, typer.Option(help="Bound of the gradient's norm.")] = None,
    ema: Annotated[
        float | None, typer.Option(help="Decay a step of an average of the weights, e.g. 0.995.")
    ] = None,
    norm_frames: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Training frames to estimate batch norms on after each epoch; by default 16384 "
            "with --ema, whose average has others, else none.",
        ),
    ] = None,
    patience: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many epochs that gain nothing.")
    ] = None,
    turns: Annotated[
        bool, typer.Option("--turns", help="Turn each training frame by a random quarter circle.")
    ] = False,
    teacher: Teacher = None,
    teacher_share: Share = 0.5,
    temperature: Temperature = 3.0,
    epoch_frames: EpochFrames = None,
    validation_frames: ValidationFrames = 1 << 14,
    filters: Filters = None,
    dense: Annotated[int | None, typer.Option(min=1, help="Width of the dense layers.")] = None,
    input_bits: InputBits = None,
    weight_bits: WeightBits = None,
    act_bits: ActBits = None,
    bits: BitsFile = None,
    trust: TrustRemembered = False,
    code: Code = None,
    device: Where = "auto",
    processes: Processes = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Machines; start each with torchrun.")] = 1,
    precision: Precision = "auto",
    resume: Resume = True,
    seed: Seed = 0,
    json: Json = None,
) -> None:
    """Train a network from scratch, or go on from a checkpoint; interrupted, run it again."""
    from models import checkpoint as checkpoints
    from models.bits import read_bits
    from models.cli import parse_filters
    from models.config import CONFIGS
    from models.console import print_table
    from models.errors import BadInput
    from models.files import write_json
    from models.user_code import Trust
    from training.module import Recipe
    from training.processes import first_process
    from training.train import train as run

    changes = {
        "filters": parse_filters(filters),
        "dense": dense,
        "input_bits": input_bits,
        "weight_bits": weight_bits,
        "act_bits": act_bits,
    }
    start: Config | Checkpoint
    if (network is None) == (own is None):
        raise BadInput("name what to train: a network or a checkpoint, or --network FILE.py:CLASS")
    changed = bits is not None or any(value is not None for value in changes.values())
    if network is None:
        assert own is not None
        if changed:
            raise BadInput("widths and bits of a class of your own are its own; change them there")
        start = _own_class(own, data)
    elif network in CONFIGS:
        known = CONFIGS[network].changed(**changes, **_sizes(data))
        start = known if bits is None else read_bits(bits, known).of(known)
    elif changed:
        raise BadInput(
            "widths and bits are fixed in a checkpoint; change them with a model's name, or its "
            "bits with `aaronnet requantize`"
        )
    else:
        start = checkpoints.load(network, trust=Trust(trust, code))
    config = start.config if isinstance(start, checkpoints.Checkpoint) else start
    if norm_frames is None and ema is not None and own is None:
        norm_frames = 1 << 14
    recipe = Recipe(
        epochs=epochs,
        lr=lr,
        t0=t0,
        float_epochs=float_epochs,
        quantized_lr=quantized_lr,
        weight_decay=weight_decay,
        label_smoothing=label_smoothing,
        clip=clip,
        ema=ema,
        patience=patience,
        norm_frames=norm_frames or None,
        turns=turns or None,
    )
    where = _where(device, processes, nodes, precision, data, epoch_frames, batch_size)
    distillation = _distillation(teacher, teacher_share, temperature, data, config, trust)
    kind = _kind(config, data)
    source = _source(data, batch_size, min_snr, seed, epoch_frames, validation_frames, kind)
    best = run(
        *(start, source, out, recipe),
        distillation=distillation,
        seed=seed,
        resume=resume,
        **where,
    )
    if not first_process():
        return
    made = checkpoints.load(best)
    info = made.info
    facts = {
        "network": made.config.name,
        "checkpoint": str(best),
        "accuracy": info["accuracy"],
        # It was written after this epoch; the history before it is also that of the runs before.
        "best_epoch": info["history"][-1]["epoch"],
        **{key: info[key] for key in ("epochs", "frames", "wall_seconds", "device", "seed")},
        "trained_on": info["data_label"],
        "chosen_on": info["chosen_on"],
        "history": info["history"],
    }
    if json:
        write_json(json, facts)
    shown = {k: v for k, v in facts.items() if k != "history"} | {
        "accuracy": f"{facts['accuracy']:.4f}"
    }
    print_table(f"trained {facts['network']}", ("fact", "value"), shown.items())


def prune(
    checkpoint: CheckpointFile,
    out: Out,
    data: Data = None,
    method: Annotated[
        str,
        typer.Option(
            help="l1: the smallest weights; lamp: the smallest of each layer, per cost; channels: "
            "whole ones, the network gets smaller."
        ),
    ] = "l1",
    percent: Annotated[
        float, typer.Option(help="Of what is left, each iteration (the first, with --feedback).")
    ] = 30.0,
    steps: Annotated[
        str | None, typer.Option(help="Percentages, one an iteration, e.g. 50,30,20.")
    ] = None,
    iterations: Annotated[
        int | None,
        typer.Option(
            min=1, help="At most so many; by default until 1 % is left, 1 with --target-score."
        ),
    ] = None,
    target_score: Annotated[
        float | None, typer.Option(help="End below this official score.")
    ] = None,
    feedback: Annotated[
        bool,
        typer.Option("--feedback", help="Below the threshold, go back and take half the step."),
    ] = False,
    threshold: Annotated[float, typer.Option(help="Accuracy to keep.")] = 0.56,
    rounds: Annotated[int, typer.Option(min=1, help="Round i retrains i * t0 epochs.")] = 2,
    t0: Annotated[int, typer.Option(min=1, help="Epochs of a cosine cycle.")] = 5,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 0.01,
    batch_size: Batch = 1024,
    min_snr: MinSnr = -14,
    teacher: Teacher = None,
    teacher_share: Share = 0.5,
    temperature: Temperature = 3.0,
    epoch_frames: EpochFrames = None,
    validation_frames: ValidationFrames = 1 << 14,
    device: Where = "auto",
    processes: Processes = 1,
    precision: Precision = "auto",
    resume: Resume = True,
    trust: TrustRemembered = False,
    code: Code = None,
    seed: Seed = 0,
    json: Json = None,
) -> None:
    """Prune and retrain; ends with the cheapest network above the threshold. Exit 1 if none is."""
    from models import checkpoint as checkpoints
    from models.console import err, print_table
    from models.errors import BadInput, CheckFailed
    from models.files import write_json
    from models.user_code import Trust
    from training.plans import Feedback, FixedSteps, Plan, Row, Towards, repeated
    from training.processes import first_process
    from training.prune_run import Retraining
    from training.prune_run import prune as run

    start = checkpoints.load(checkpoint, trust=Trust(trust, code))
    if sum((steps is not None, feedback, target_score is not None)) > 1:
        raise BadInput("choose one of --steps, --feedback and --target-score")
    plan: Plan
    if target_score is not None:
        plan = Towards(target_score, iterations or 1, method)
    elif feedback:
        plan = Feedback(percent / 100, most=iterations or 50)
    else:
        shares = repeated(percent / 100) if steps is None else percentages(steps)
        plan = FixedSteps(shares[:iterations])
    retraining = Retraining(rounds, t0, lr, threshold)
    where = _where(device, processes, 1, precision, data, epoch_frames, batch_size)
    distillation = _distillation(teacher, teacher_share, temperature, data, start.config, trust)

    def told(row: Row) -> None:
        if first_process():
            err.print(
                f"iteration {row.iteration}: accuracy {row.accuracy:.4f}, score {row.score:.6f}, "
                f"{row.nonzero_weights} weights"
            )

    kind = _kind(start.config, data)
    source = _source(data, batch_size, min_snr, seed, epoch_frames, validation_frames, kind=kind)
    table = run(
        *(start, source, out, plan, retraining),
        method=method,
        distillation=distillation,
        resume=resume,
        report=told,
        seed=seed,
        **where,
    )
    if not first_process():
        return
    if json:
        write_json(json, table.to_dict())
    print_table(
        f"{table.network} pruned ({table.data_label}; accuracy on {table.chosen_on})",
        ("iteration", "from", "pruned", "accuracy", "score", "weights", "parameters", ""),
        (
            (
                row.iteration,
                "start" if row.parent < 0 else row.parent,
                f"{row.fraction:.1%}",
                f"{row.accuracy:.4f}",
                f"{row.score:.6f}",
                f"{row.nonzero_weights:,}",
                f"{row.parameters:,}",
                "best" if row.iteration == table.best else "",
            )
            for row in table.rows
        ),
    )
    if table.best is None:
        raise CheckFailed(f"no iteration kept an accuracy above {threshold}; all are in {out}")


def percentages(text: str) -> tuple[float, ...]:
    """Read "50,30,20" as (0.5, 0.3, 0.2).

    Raises:
        BadInput: a part is no percentage.
    """
    from models.errors import BadInput

    try:
        parts = text.strip("[] ").replace(",", " ").split()
        shares = tuple(float(part) / 100 for part in parts)
    except ValueError as error:
        raise BadInput(f"percentages are numbers separated by commas, not {text!r}") from error
    if not shares or any(not 0 < share < 1 for share in shares):
        raise BadInput(f"percentages lie between 0 and 100, not {text!r}")
    return shares
