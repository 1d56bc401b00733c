"""The one command line: every stage of the chain is a subcommand, thin over the stage's own code.

Exit codes: 0 done, 1 a check failed, 2 bad input, 130 interrupted. Facts go to stdout, progress
and errors to stderr.
"""

import errno
import logging
import os
import signal
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

# Ours come first: an editable install stands at the end of the path, behind `pip install build`,
# whose folder has the name of one of our stages. Worker processes get this path from us.
sys.path.insert(0, str(Path(__file__).resolve().parent))

import build.cli
import build.cli_sim
import deploy.cli
import deploy.cli_classify
import deploy.cli_demo
import deploy.cli_deploy
import deploy.cli_doctor
import models.cli
import training.cli
import training.cli_bits
import training.cli_data
import training.cli_evaluate
import training.cli_quantize
import training.cli_zoo
from models.children import end_on_sigterm
from models.errors import BadInput, CheckFailed

LIBRARIES = ("torch", "brevitas", "qonnx", "onnx", "numpy", "lightning", "finn-plus")
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Radio modulation classifiers, from training to dataflow hardware.",
)


def _versions(wanted: bool) -> None:
    if wanted:
        print(f"aaronnet {version('aaronnet')}")
        for library in LIBRARIES:
            print(f"{library} {version(library)}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_versions, is_eager=True, help="Show versions.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show what the libraries say; works anywhere.")
    ] = False,
) -> None:
    """Radio modulation classifiers, from training to dataflow hardware."""


app.add_typer(training.cli_data.app, name="data", help="Synthesise, inspect and check data.")
for command in (
    training.cli.train,
    training.cli.prune,
    training.cli_evaluate.test,
    training.cli_evaluate.calibrate,
    models.cli.cost,
    models.cli.export,
    training.cli_quantize.quantize,
    training.cli_bits.requantize,
    training.cli_bits.search,
    build.cli.build,
    build.cli.boards,
    build.cli_sim.simulate,
    build.cli_sim.synth,
    deploy.cli_deploy.deploy,
    deploy.cli_classify.classify,
):
    app.command()(command)
app.add_typer(deploy.cli.app, name="board", help="Serve a virtual board, prepare comparisons.")
app.add_typer(training.cli_zoo.app, name="zoo", help="List or add trained checkpoints.")
app.command()(training.cli_evaluate.report)
app.command()(deploy.cli_demo.demo)
app.command()(deploy.cli_doctor.doctor)


def be_quiet() -> None:
    """Silence the libraries: whoever runs a command wants its facts, and `-v` shows the rest."""
    os.environ.setdefault("TORCH_LOGS", "-all")
    os.environ.setdefault("PYTHONWARNINGS", "ignore")  # for worker processes
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)


def main() -> None:
    """Run the command line and exit."""
    # A pipe that closes early (`| head`) is no error of ours.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    end_on_sigterm()
    arguments = sys.argv[1:]
    quiet = [argument for argument in arguments if argument not in ("-v", "--verbose")]
    if len(quiet) == len(arguments):
        be_quiet()
    try:
        try:
            app(quiet, prog_name="aaronnet")
        finally:
            sys.stdout.flush()  # a full device is told now, not after the end
    except BadInput as error:
        _end(error, 2)
    except CheckFailed as error:
        _end(error, 1)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        if error.filename is None:  # what is left unwritten would fail once more at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _end(
            f"{error.strerror}: {error.filename or 'the output'}; free some space and run it again",
            2,
        )


def _end(message: object, code: int) -> None:
    from models.console import printable

    print(f"aaronnet: {printable(str(message))}", file=sys.stderr)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
