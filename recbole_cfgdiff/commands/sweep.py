"""``sweep``: what the guidance scale does to a trained model."""

from __future__ import annotations

import argparse

from tabulate import tabulate

from recbole_cfgdiff.commands.arguments import add_plugins, further_options, import_given_plugins, path
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.files import remove_left_overs
from recbole_cfgdiff.reporting.outputs import check_output, told_if_not_written
from recbole_cfgdiff.reporting.report import write_sweep
from recbole_cfgdiff.runs.sweep import effects_of, parse_scales, sweep_checkpoint


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of the command."""
    parser.add_argument("--checkpoint", type=path, help="a run's folder, also of one of compare, or its best.pth")
    parser.add_argument("--guidance-scales", default="0,0.25,0.5,0.75,1,1.5,2,3,4", help="(%(default)s)")
    add_plugins(parser)
    parser.add_argument("--output", type=path, help="folder for sweep.csv and figures")


def call(known: argparse.Namespace, rest: list[str]) -> None:
    """Evaluate at each scale, print the table, and write it with its figures where there is an output."""
    if unknown := [*further_options(known, rest, "checkpoint")]:
        raise ConfigError(f"sweep does not know --{unknown[0]}")
    import_given_plugins(known)
    if known.output:
        check_output(known.output)
        with told_if_not_written(known.output, ConfigError):
            known.output.mkdir(parents=True, exist_ok=True)
    table, prepared = sweep_checkpoint(known.checkpoint, parse_scales(known.guidance_scales))
    columns = effects_of(prepared)
    print(tabulate(table[["part", "guidance_scale", *columns]], headers="keys", showindex=False, floatfmt=".4f"))
    if known.output:
        remove_left_overs(known.output)
        with told_if_not_written(known.output, ConfigError):
            write_sweep(table, prepared.config["model"], prepared.config["dataset"], columns, known.output)
        print(f"\nall metrics and figures: {known.output}")
