"""The command that makes a network's hardware form: `quantize`."""

from pathlib import Path
from typing import Annotated

import typer

from models.cli import DATA, CheckpointFile, Device, Json, Seed, checked_target, torch_device

SHOWN_FROM = 10  # dB


def quantize(
    checkpoint: CheckpointFile,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="The checkpoint to write (.pth).", callback=checked_target
        ),
    ],
    bits: Annotated[
        int, typer.Option(min=2, max=8, help="Bits of the activations between the blocks.")
    ] = 8,
    finetune: Annotated[
        int, typer.Option(min=0, help="Epochs of training, distilled from the original.")
    ] = 0,
    data: Annotated[
        Path | None, typer.Option(help=f"{DATA}; without one, frames are synthesised.")
    ] = None,
    frames: Annotated[
        int, typer.Option("-n", "--frames", min=24, help="About so many to calibrate on.")
    ] = 2496,
    batch_size: Annotated[int, typer.Option(min=1, help="Frames a batch of fine-tuning.")] = 256,
    epoch_frames: Annotated[
        int | None, typer.Option(min=1, help="Frames of an epoch of fine-tuning; by default all.")
    ] = None,
    lr: Annotated[float, typer.Option(help="Peak learning rate of fine-tuning.")] = 0.001,
    resume: Annotated[bool, typer.Option(help="Go on with interrupted fine-tuning.")] = True,
    device: Device = "auto",
    seed: Seed = 0,
    json: Json = None,
) -> None:
    """Turn a network into the form that dataflow hardware can run, and say what that costs.

    The branches of the first layer are fused exactly; quantizers are put between the blocks and
    calibrated on training frames. Interrupted while fine-tuning, run it again.
    """
    import shutil

    from models import checkpoint as checkpoints
    from models.console import Bar, err, print_table
    from models.cost import inference_cost
    from models.files import write_json
    from models.fuse import to_hardware
    from training.data import RadioMLData, SyntheticData, calibration_frames
    from training.distill import Distillation
    from training.evaluate import evaluate
    from training.module import Recipe
    from training.train import commands_after, train

    where = torch_device(device)
    original = checkpoints.load(checkpoint)
    source: RadioMLData | SyntheticData
    if data is None:
        source = SyntheticData(batch_size, frames_per_epoch=epoch_frames or 1 << 17, seed=seed)
    else:
        with Bar("caching") as progress:
            source = RadioMLData(data, batch_size, seed=seed, progress=progress)
            source.setup()
    with err.status("calibrating"):
        made = to_hardware(original, bits, calibration_frames(source, frames, seed))
    made.info.pop("sha256", None)
    made.info["quantized_from"] = original.info.get("sha256", "")
    made.info["calibrated_on"] = source.label
    networks = {"original": original, f"{bits} bits": made}
    if finetune and made is not original:
        work = out.with_name(f"{out.name}.finetune")
        shorter = None if data is None or epoch_frames is None else epoch_frames // batch_size
        best = train(
            *(made, source, work, Recipe(finetune, lr=lr, t0=0)),
            distillation=Distillation(original.network),
            seed=seed,
            accelerator="gpu" if where == "cuda" else "cpu",
            batches_per_epoch=shorter and max(shorter, 1),
            resume=resume,
        )
        tuned = checkpoints.load(best)
        tuned.info.pop("sha256", None)
        tuned.info["quantized_from"] = made.info["quantized_from"]
        networks[f"{bits} bits, fine-tuned"] = made = tuned
    else:
        made.info["command"] = commands_after(original.info)
    checkpoints.save(out, made.network, made.config, made.info)
    shutil.rmtree(out.with_name(f"{out.name}.finetune"), ignore_errors=True)
    facts: dict = {"checkpoint": str(out), "network": made.config.name, "bits": bits}
    facts |= {"data": source.label, "trained_on": made.data_label, "networks": {}}
    for name, network in networks.items():
        with Bar(f"testing {name}") as progress:
            result = evaluate(network, source, device=where, progress=progress)
        per_snr = zip(result["snrs"], result["accuracy_per_snr"], strict=True)
        high = [share for snr, share in per_snr if snr >= SHOWN_FROM and share is not None]
        facts["networks"][name] = {
            "accuracy": result["accuracy"],
            "accuracy_from_10_db": sum(high) / len(high) if high else None,
            "accuracy_per_snr": result["accuracy_per_snr"],
            "score": inference_cost(network)["score"],
        }
    if json:
        write_json(json, facts)
    print_table(
        f"{made.config.name}, {out}",
        ("network", "accuracy, all SNRs", f"{SHOWN_FROM} dB and above", "official score"),
        (
            [
                name,
                f"{row['accuracy']:.2%}",
                "-" if row["accuracy_from_10_db"] is None else f"{row['accuracy_from_10_db']:.2%}",
                f"{row['score']:.6f}",
            ]
            for name, row in facts["networks"].items()
        ),
    )
    print_table("", ("fact", "value"), [("tested on", source.label)])
