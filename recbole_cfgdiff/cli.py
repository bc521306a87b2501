"""The command line: ``run_recbole_cfg.py``, and ``python -m recbole_cfgdiff`` where the package is installed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from recbole_cfgdiff.compat import silence_recbole_deprecations
from recbole_cfgdiff.errors import ConfigError, TrainingError

_RUN_HELP = "train and test a model by RecBole"
_RUN_EPILOG = """Any option of RecBole's or of the model's is given as --key=value, over the files of --config_files,
over the YAML files of the model and of the data set. --resume=RUN_FOLDER continues an interrupted run."""


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m recbole_cfgdiff COMMAND ...``.

    Returns:
        the exit status: 0, 1 if training failed, 2 on a mistake in the options or in the data.
    """
    parser = argparse.ArgumentParser(prog="python -m recbole_cfgdiff")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_run_arguments(commands.add_parser("run", help=_RUN_HELP, epilog=_RUN_EPILOG, allow_abbrev=False))
    return _guarded_run(*parser.parse_known_args(arguments))


def run_main(arguments: Sequence[str] | None = None) -> int:
    """``run_recbole_cfg.py ...``. Returns the exit status as ``main``."""
    parser = argparse.ArgumentParser(
        prog="run_recbole_cfg.py", description=_RUN_HELP, epilog=_RUN_EPILOG, allow_abbrev=False
    )
    _add_run_arguments(parser)
    return _guarded_run(*parser.parse_known_args(arguments))


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of RecBole's run_recbole.py, by the same names."""
    parser.add_argument("--model", "-m", help="CFGDiffRec, DiffRec, RecBoleDiffRec or any model of RecBole's")
    parser.add_argument("--dataset", "-d", help="ml-100k, or a folder of atomic files below data_path (dataset/)")
    parser.add_argument("--config_files", default="", help='YAML files: "a.yaml b.yaml"')
    parser.add_argument("--nproc", type=int, default=1, help="processes on this machine (CUDA only)")
    parser.add_argument("--ip", default="localhost", help="address of the first process")
    parser.add_argument("--port", default="5678", help="port of the first process")
    parser.add_argument("--world_size", type=int, default=-1, help="processes on all machines")
    parser.add_argument("--group_offset", type=int, default=0, help="rank of this machine's first process")


def _guarded_run(known: argparse.Namespace, rest: list[str]) -> int:
    try:
        return _run(known, parse_options(rest))
    except ConfigError as error:
        return _fail(error, status=2)
    except ModuleNotFoundError as error:
        return _fail(f"{error}: this needs the package {error.name}; install it by pip", status=2)
    except TrainingError as error:
        return _fail(error, status=1)
    except KeyboardInterrupt:
        return _fail("interrupted; continue with --resume=RUN_FOLDER", status=130)


def _run(known: argparse.Namespace, options: dict[str, str]) -> int:
    # RecBole, torch and all: not needed for --help or for a mistake in the arguments.
    from recbole_cfgdiff.quick_start import run

    silence_recbole_deprecations()
    result = run(
        known.model,
        known.dataset,
        known.config_files.split(),
        options,
        nproc=known.nproc,
        world_size=known.world_size,
        ip=known.ip,
        port=known.port,
        group_offset=known.group_offset,
    )
    print(result_table(result))
    return 0


def _fail(message: object, status: int) -> int:
    print("error:", " ".join(str(message).splitlines()), file=sys.stderr)
    return status


def parse_options(arguments: Sequence[str]) -> dict[str, str]:
    """Read ``--key=value`` arguments.

    Raises:
        ConfigError: on an argument of another form, or on two values for one key.
    """
    options: dict[str, str] = {}
    for argument in arguments:
        key, equals, value = argument[2:].partition("=")
        if not argument.startswith("--") or not equals or not key:
            raise ConfigError(f"expected --key=value, got {argument}")
        if options.get(key, value) != value:
            raise ConfigError(f"--{key} is given twice: {options[key]} and {value}")
        options[key] = value
    return options


def result_table(result: dict[str, Any]) -> str:
    """The validation and test metrics of a run, a line a metric, for the terminal."""
    parts = {"valid": result["best_valid_result"], "test": result["test_result"]}
    columns = {name: metrics for name, metrics in parts.items() if metrics}
    metrics = next(iter(columns.values()))
    rows = [[metric, *(values[metric] for values in columns.values())] for metric in metrics]
    folder = f"\n\nrun folder: {result['run_dir']}" if result["run_dir"] else ""
    return "\n" + tabulate(rows, headers=["metric", *columns], floatfmt=".4f") + folder
