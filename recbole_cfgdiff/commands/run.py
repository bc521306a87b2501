"""``run``: train and test a model. ``run_recbole_cfg.py`` is this command alone."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from tabulate import tabulate

from recbole_cfgdiff.commands.arguments import add_config_files, parse_options
from recbole_cfgdiff.errors import reported_as_training_error
from recbole_cfgdiff.quick_start import run

_EPILOG = """Any option of RecBole's or of the model's is given as --key=value, over the files of --config-files,
over the YAML files of the model and of the data set. --resume=RUN_FOLDER continues an interrupted run.
--fit=all --like=RUN_FOLDER trains on every row as that run did, for as many epochs as it found best."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of RecBole's run_recbole.py, by the same names."""
    parser.epilog = _EPILOG
    parser.add_argument(
        "--model", "-m", help="CFGDiffRec, DiffRec, ForwardCFGDiffRec, RecBoleDiffRec or any model of RecBole's"
    )
    parser.add_argument("--dataset", "-d", help="ml-100k, or a folder of atomic files below data_path (dataset/)")
    add_config_files(parser)
    parser.add_argument("--nproc", type=int, default=1, help="processes on this machine (CUDA only)")
    parser.add_argument("--ip", default="localhost", help="address of the first process")
    parser.add_argument("--port", default="5678", help="port of the first process")
    parser.add_argument("--world-size", type=int, default=-1, help="processes on all machines")
    parser.add_argument("--group-offset", type=int, default=0, help="rank of this machine's first process")


def call(known: argparse.Namespace, rest: list[str]) -> None:
    """Train, test, and print the metrics."""
    result = run(
        known.model,
        known.dataset,
        known.config_files.split(),
        parse_options(rest),
        nproc=known.nproc,
        world_size=known.world_size,
        ip=known.ip,
        port=known.port,
        group_offset=known.group_offset,
    )
    with reported_as_training_error(f"the result is in {result['run_dir']}"):
        _tell(result)


def _tell(result: dict[str, Any]) -> None:
    print(_told_of_fit(result) if "fit" in result else result_table(result))
    if "guidance_curve" in result:
        print(f"guidance scale, chosen by validation: {result['guidance_scale']:g}")
        if result["run_dir"]:
            # Only this needs the drawing library, which takes a second to import.
            from recbole_cfgdiff.reporting.report import draw_guidance_curve

            draw_guidance_curve(Path(result["run_dir"]))
    sys.stdout.flush()


def _told_of_fit(result: dict[str, Any]) -> str:
    """What became of a run that trains on every row, for the terminal."""
    like = f", like {result['like']}" if result["like"] else ""
    told = f"trained on every row, epochs: {result['epochs']}{like}; nothing was validated or tested"
    return f"\n{told}{_told_folder(result)}"


def _told_folder(result: dict[str, Any]) -> str:
    return f"\n\nrun folder: {result['run_dir']}" if result["run_dir"] else ""


def result_table(result: dict[str, Any]) -> str:
    """The validation and test metrics of a run, a line a metric, for the terminal."""
    parts = {"valid": result["best_valid_result"], "test": result["test_result"]}
    columns = {name: metrics for name, metrics in parts.items() if metrics}
    metrics = next(iter(columns.values()))
    rows = [[metric, *(values[metric] for values in columns.values())] for metric in metrics]
    return "\n" + tabulate(rows, headers=["metric", *columns], floatfmt=".4f") + _told_folder(result)
