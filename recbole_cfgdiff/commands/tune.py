"""``tune``: a search of hyperparameters, chosen by validation."""

from __future__ import annotations

import argparse
from pathlib import Path

from recbole_cfgdiff.commands.arguments import add_config_files, further_options, path
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.overlay.config import Config
from recbole_cfgdiff.overlay.unread_options import check_all_are_read
from recbole_cfgdiff.tuning.cluster import Cluster
from recbole_cfgdiff.tuning.tune import tune


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of the command; some are of ``--tool=ray`` alone."""
    parser.epilog = "Further --key=value options are RecBole's or the model's, as of a run."
    parser.add_argument("--model", help="name of the model")
    parser.add_argument("--dataset", help="name of the data set")
    parser.add_argument("--params-file", type=path, help="search space (properties/hyper/MODEL.hyper)")
    parser.add_argument("--tool", default="optuna", help="optuna: one trial at a time; ray: several (%(default)s)")
    parser.add_argument("--algo", default="bayes", help="exhaustive, random or bayes (%(default)s)")
    parser.add_argument("--max-evals", type=int, help="number of trials (20; exhaustive: all combinations)")
    add_config_files(parser)
    parser.add_argument("--output", type=path, help="folder of the search, also to continue it (results/...)")
    parser.add_argument("--address", help="ray: of a running cluster, HOST:PORT or auto (this machine alone)")
    parser.add_argument("--cpus-per-trial", type=int, default=1, help="ray: cores of a trial (1)")
    parser.add_argument("--gpus-per-trial", type=float, default=0, help="ray: GPUs of a trial (0)")


def call(known: argparse.Namespace, rest: list[str]) -> None:
    """Search, and leave the best configuration in the output folder."""
    options = further_options(known, rest, "model", "dataset")
    output = known.output or Path("results") / f"tune-{known.model}-{known.dataset}"
    files = known.config_files.split()
    cluster = Cluster(known.address, known.cpus_per_trial, known.gpus_per_trial)
    if known.tool not in ("optuna", "ray"):
        raise ConfigError(f"tool: expected optuna or ray, got {known.tool}")
    if known.tool == "optuna" and cluster != Cluster():
        raise ConfigError("address, cpus_per_trial and gpus_per_trial are options of --tool=ray")
    by = cluster if known.tool == "ray" else None
    check_all_are_read([Config(known.model, known.dataset, files, options)])
    tune(known.model, known.dataset, output, known.params_file, known.algo, known.max_evals, files, options, by)
