"""The original project's command line, on top of ours.

    python training/main.py --action 1 --dset_path DATA --gpu_num -1

Flags, defaults and meanings are the original's. Where it was broken this does what its help says:
`--prn_list` sets the number of iterations, `--gpu_num` chooses the device, testing also prints the
cost, and training never sees a frame of the test split whatever `--st_snr`. `--model` is new: the
original's filters were edited inside the file.
"""

import os
import sys

# Run as a script, this folder would come first, and hide the standard library's `inspect`.
if sys.path and os.path.abspath(sys.path[0]) == os.path.dirname(os.path.abspath(__file__)):  # noqa: PTH100, PTH120
    sys.path[0] = os.path.dirname(sys.path[0] or os.getcwd())  # noqa: PTH109, PTH120

import argparse
import errno
import logging
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import BadInput, CheckFailed
from models.published import ACCURACY_THRESHOLD as THRESHOLD

if TYPE_CHECKING:
    from models.checkpoint import Checkpoint

DATA_FILE = Path("2018.01", "GOLD_XYZ_OSC.0001_1024.hdf5")
TEST, TRAIN, PRUNE = 0, 1, 2


def parser() -> argparse.ArgumentParser:
    """Return the parser of the original's flags."""
    result = argparse.ArgumentParser(
        prog="training/main.py", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = result.add_argument
    add("--bsize", type=int, default=1024, help="batch size")
    add("--lr", type=float, default=0.01, help="learning rate (Adam)")
    add("--eps", type=int, default=50, help="training epochs")
    add("--t0", type=int, default=5, help="T_0 of cosine annealing with warm restarts")
    add(
        "--ret_ep",
        type=int,
        default=2,
        help="retraining rounds after a pruning step; round i lasts i*T_0 epochs, stops early "
        f"when accuracy > {THRESHOLD}",
    )
    add(
        "--st_snr",
        type=int,
        default=3,
        help="first SNR index used for training (3 = -14 dB); testing uses all",
    )
    add("--dset_path", default="", help=f"folder that holds {DATA_FILE}")
    add("--checkpoint", default="submission_unpruned.pth", help="starting checkpoint")
    add("--w_dec", type=float, default=0.0, help="weight decay")
    add("--nbits", type=int, default=8, help="input quantizer bits")
    add(
        "--prn_list",
        nargs="*",
        default=[],
        help="percentages for each pruning iteration",
    )
    add(
        "--prn_per",
        type=float,
        default=30,
        help="fixed percentage; iterations = int(ln 0.01 / ln(1 - p))",
    )
    add("--out_folder", default="result", help="log.txt and checkpoints")
    add("--gpu_num", type=int, default=0, help="GPU index, -1 = CPU")
    add(
        "--action",
        type=int,
        choices=(TEST, TRAIN, PRUNE),
        default=TRAIN,
        help="0 test, 1 train, 2 prune",
    )
    add("--model", default="aaronnet32", help="network to train (not in the original)")
    return result


def run(arguments: Sequence[str] | None = None) -> None:
    """Do what the flags say.

    Raises:
        BadInput: a flag, the data or the checkpoint is unusable.
    """
    flags = parser().parse_args(arguments)
    from deploy.board.radioml import SNRS
    from models.files import writable_folder
    from training.data import RadioMLData

    if not 0 <= flags.st_snr < len(SNRS):
        raise BadInput(f"--st_snr is an index from 0 to {len(SNRS) - 1}, not {flags.st_snr}")
    data = RadioMLData(Path(flags.dset_path) / DATA_FILE, flags.bsize, min_snr=SNRS[flags.st_snr])
    data.setup()
    log = Log(writable_folder(flags.out_folder) / "log.txt")
    log(f"flags: {vars(flags)}")
    log(f"data: {data.label}; trained from {SNRS[flags.st_snr]} dB, tested on all SNRs")
    {TEST: _test, TRAIN: _train, PRUNE: _prune}[flags.action](flags, data, log)


class Log:
    """Prints lines and appends them to a file."""

    def __init__(self, path: Path):
        self.path = path

    def __call__(self, line: str) -> None:
        """Add a line."""
        print(line, flush=True)
        with self.path.open("a") as file:
            file.write(line + "\n")


def _train(flags: argparse.Namespace, data: Any, log: Log) -> None:
    from models import checkpoint as checkpoints
    from models.config import named_config
    from models.files import atomic
    from training.module import Recipe
    from training.runs import RECORD
    from training.train import train

    config = named_config(flags.model).changed(input_bits=flags.nbits)
    recipe = Recipe(epochs=flags.eps, lr=flags.lr, t0=flags.t0, weight_decay=flags.w_dec)
    # A folder of its own: pruning has a best.pth, too.
    folder = Path(flags.out_folder) / "training"
    result = Path(flags.out_folder) / "submission_unpruned.pth"
    if result.exists() and not (folder / RECORD).is_file():
        raise BadInput(f"{result} is not of a training in {folder}; choose another --out_folder")
    best = train(config, data, folder, recipe, **_device(flags, log))
    for row in checkpoints.load(best.with_name("last.pth")).info["history"]:
        log(
            f"epoch {row['epoch']}: loss {row['train_loss']:.4f}, train accuracy "
            f"{row['train_accuracy']:.4f}, test accuracy {row['val_accuracy']:.4f}"
        )
    with atomic(result) as temporary:
        shutil.copyfile(best, temporary)
    log(f"best test accuracy {checkpoints.load(best).info['accuracy']:.4f}: {result}")


def _test(flags: argparse.Namespace, data: Any, log: Log) -> None:
    from models.cost import inference_cost
    from training.evaluate import evaluate

    loaded = _checkpoint(flags, log)
    measured = evaluate(loaded, data, batch_size=flags.bsize)
    for snr, accuracy in zip(measured.snrs, measured.accuracy_per_snr, strict=True):
        log(f"{snr} dB: {'-' if accuracy is None else f'{accuracy:.4f}'}")
    log(f"accuracy {measured.accuracy:.4f} over all SNRs ({measured.frames} frames)")
    cost = inference_cost(loaded)
    log(
        f"inference cost score {cost.score:.6f} (bit operations {cost.bit_ops}, weight bits "
        f"{cost.weight_bits}, nonzero weights {cost.nonzero_weights})"
    )


def _prune(flags: argparse.Namespace, data: Any, log: Log) -> None:
    from training.cli import percentages
    from training.module import Recipe
    from training.plans import FixedSteps, Row, repeated
    from training.prune_run import Retraining, prune

    if flags.prn_list:
        shares = percentages(" ".join(flags.prn_list))
    else:
        shares = repeated(flags.prn_per / 100)
    log(f"{len(shares)} iterations: {', '.join(f'{share:.0%}' for share in shares)}")

    def told(row: Row) -> None:
        log(
            f"iteration {row.iteration}: accuracy {row.accuracy:.4f}, score {row.score:.6f}, "
            f"nonzero weights {row.nonzero_weights}: {row.checkpoint}"
        )

    table = prune(
        *(_checkpoint(flags, log), data, flags.out_folder, FixedSteps(shares)),
        Retraining(flags.ret_ep, flags.t0, flags.lr, THRESHOLD, Recipe(weight_decay=flags.w_dec)),
        report=told,
        **_device(flags, log),
    )
    if table.best is None:
        raise CheckFailed(f"no iteration kept an accuracy above {THRESHOLD}")
    log(f"cheapest above {THRESHOLD}: iteration {table.best}, copied to best.pth")


def _checkpoint(flags: argparse.Namespace, log: Log) -> "Checkpoint":
    """Load `--checkpoint`, by itself or from the out folder."""
    from models import checkpoint as checkpoints

    path = Path(flags.checkpoint)
    inside = Path(flags.out_folder) / path
    path = inside if not path.is_file() and inside.is_file() else path
    loaded = checkpoints.load(path, only_ours="main.py")
    config = loaded.ours("main.py")
    if not loaded.info.get("data_label"):
        # A bare state dict does not tell its input bits; ours do, and know better than a default.
        loaded = checkpoints.load(path, config.changed(input_bits=flags.nbits))
        config = loaded.ours("main.py")
    log(f"checkpoint {path}: {config.name}, {config.input_bits} input bits")
    return loaded


def _device(flags: argparse.Namespace, log: Log) -> dict[str, Any]:
    import torch

    if flags.gpu_num < 0:
        return {"accelerator": "cpu"}
    if not torch.cuda.is_available():
        log("no GPU here: using the CPU (--gpu_num -1 says so without this line)")
        return {"accelerator": "cpu"}
    if flags.gpu_num >= torch.cuda.device_count():
        raise BadInput(f"--gpu_num {flags.gpu_num}: there are {torch.cuda.device_count()} GPUs")
    return {"accelerator": "gpu", "devices": [flags.gpu_num]}


def main() -> None:
    """Run and exit: 0 done, 1 no checkpoint above the threshold, 2 bad input."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    try:
        run()
    except BadInput as error:
        print(f"main.py: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(f"main.py: {error}; free some space and run it again", file=sys.stderr)
        raise SystemExit(2) from None
    except CheckFailed as error:
        print(f"main.py: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
