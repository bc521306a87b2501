"""The command line: ``run_recbole_cfg.py``, and ``python -m recbole_cfgdiff`` where the package is installed."""

from __future__ import annotations

import argparse
import re
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tabulate import tabulate

from recbole_cfgdiff import __version__
from recbole_cfgdiff.compat import silence_recbole_deprecations
from recbole_cfgdiff.data.convert.convert import convert
from recbole_cfgdiff.data.convert.sources import (
    LONGEST_LINE,
    SOURCES,
    TIME_UNITS,
    VERSIONS,
    Layout,
    Reading,
    check_encoding,
    open_source,
)
from recbole_cfgdiff.errors import ConfigError, TrainingError, describe_refusal, nearest, reported_as_training_error
from recbole_cfgdiff.files import remove_left_overs
from recbole_cfgdiff.names import check_name, check_path
from recbole_cfgdiff.runs import interrupts

_RUN_HELP = "train and test a model by RecBole"
_CONVERT_HELP = "turn a data set as its publisher ships it into RecBole's atomic files"
_COMPARE_HELP = "train and test several models with several seeds, and report"
_REPRODUCE_HELP = "the paper's tables beside ours, by the same protocol"
_SWEEP_HELP = "what the guidance scale does to a trained model"
_TUNE_HELP = "search hyperparameters, chosen by validation"
_RUN_EPILOG = """Any option of RecBole's or of the model's is given as --key=value, over the files of --config_files,
over the YAML files of the model and of the data set. --resume=RUN_FOLDER continues an interrupted run."""


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m recbole_cfgdiff COMMAND ...``.

    Returns:
        the exit status: 0, 1 if training failed, 2 on a mistake in the options or in the data, 130 after Ctrl-C, 143
        after SIGTERM.
    """
    parser = argparse.ArgumentParser(prog="python -m recbole_cfgdiff")
    parser.add_argument("--version", action="version", version=f"recbole-cfgdiff {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help=_RUN_HELP, epilog=_RUN_EPILOG, allow_abbrev=False)
    _add_run_arguments(run)
    run.set_defaults(command=_run)
    convert = commands.add_parser("convert", help=_CONVERT_HELP, description=_CONVERT_HELP, allow_abbrev=False)
    _add_convert_arguments(convert)
    convert.set_defaults(command=_convert)
    compare = commands.add_parser("compare", help=_COMPARE_HELP, description=_COMPARE_HELP, allow_abbrev=False)
    _add_compare_arguments(compare)
    compare.set_defaults(command=_compare)
    reproduce = commands.add_parser("reproduce", help=_REPRODUCE_HELP, description=_REPRODUCE_HELP, allow_abbrev=False)
    _add_reproduce_arguments(reproduce)
    reproduce.set_defaults(command=_reproduce)
    sweep = commands.add_parser("sweep", help=_SWEEP_HELP, description=_SWEEP_HELP, allow_abbrev=False)
    _add_sweep_arguments(sweep)
    sweep.set_defaults(command=_sweep)
    tune = commands.add_parser("tune", help=_TUNE_HELP, description=_TUNE_HELP, allow_abbrev=False)
    _add_tune_arguments(tune)
    tune.set_defaults(command=_tune)
    known, rest = parser.parse_known_args(arguments)
    return _guarded(known.command, known, rest)


def run_main(arguments: Sequence[str] | None = None) -> int:
    """``run_recbole_cfg.py ...``. Returns the exit status as ``main``."""
    parser = argparse.ArgumentParser(
        prog="run_recbole_cfg.py", description=_RUN_HELP, epilog=_RUN_EPILOG, allow_abbrev=False
    )
    _add_run_arguments(parser)
    return _guarded(_run, *parser.parse_known_args(arguments))


def _path(text: str) -> Path:
    """A shell expands ``~`` only at the start of a word, not in ``--output=~/x``."""
    return Path(text).expanduser()


def _add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of RecBole's run_recbole.py, by the same names."""
    parser.add_argument(
        "--model", "-m", help="CFGDiffRec, DiffRec, ForwardCFGDiffRec, RecBoleDiffRec or any model of RecBole's"
    )
    parser.add_argument("--dataset", "-d", help="ml-100k, or a folder of atomic files below data_path (dataset/)")
    parser.add_argument("--config_files", default="", help='YAML files: "a.yaml b.yaml"')
    parser.add_argument("--nproc", type=int, default=1, help="processes on this machine (CUDA only)")
    parser.add_argument("--ip", default="localhost", help="address of the first process")
    parser.add_argument("--port", default="5678", help="port of the first process")
    parser.add_argument("--world_size", type=int, default=-1, help="processes on all machines")
    parser.add_argument("--group_offset", type=int, default=0, help="rank of this machine's first process")


def _add_convert_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", choices=SOURCES, help="whose layout the input has")
    parser.add_argument("input", type=_path, help="the publisher's file, folder or archive; .gz is read as it is")
    parser.add_argument("--name", required=True, help="name of the data set")
    parser.add_argument("--output", type=_path, default=Path("dataset"), help="folder of data sets (dataset/)")
    parser.add_argument("--overwrite", action="store_true", help="replace a data set of that name")
    parser.add_argument("--skip-bad-lines", action="store_true", help="count bad lines and pass over them")
    parser.add_argument("--encoding", help="of text: latin-1, utf-16-le, ... (by the byte order mark, else utf-8)")
    parser.add_argument(
        "--max-line-length", type=int, default=LONGEST_LINE, help="characters of a line; more is refused (%(default)s)"
    )
    parser.add_argument("--version", choices=VERSIONS, help="amazon: the version, where it can't be told")
    parser.add_argument("--user-col", help="csv: name of the column of users")
    parser.add_argument("--item-col", help="csv: name of the column of items")
    parser.add_argument("--rating-col", help="csv: name of the column of ratings, if there is one")
    parser.add_argument("--time-col", help="csv: name of the column of times (numbers or ISO 8601), if there is one")
    parser.add_argument("--delimiter", help="csv: what separates the columns (,); tab for a tab")
    parser.add_argument(
        "--no-header", action="store_true", default=None, help="csv: columns are named by their numbers, from 1 on"
    )
    parser.add_argument(
        "--quotes",
        choices=("double", "none"),
        help="csv: whether a field in double quotes may hold the delimiter (double; none with --delimiter=tab)",
    )
    parser.add_argument("--time-unit", choices=TIME_UNITS, help="csv: of times, where they are not what they look like")


_OF_ONE_SOURCE = {
    "version": "amazon",
    **dict.fromkeys(
        ("user_col", "item_col", "rating_col", "time_col", "delimiter", "no_header", "quotes", "time_unit"), "csv"
    ),
}


def _add_compare_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Further --key=value options are RecBole's or the models' and apply to all of them."
    parser.add_argument("--models", help="names, as CFGDiffRec,MultVAE:mine.yaml,EASE")
    parser.add_argument("--dataset", help="a data set, or several separated by commas")
    parser.add_argument("--config_files", default="", help='YAML files for all models: "a.yaml b.yaml"')
    parser.add_argument("--sweep_scales", help="guidance scales at which guided models are also evaluated: 0,0.5,1")
    parser.add_argument("--tune-budget", "--tune_budget", type=int, default=0, help="trials to tune each model (0)")
    _add_experiment_arguments(parser, seeds=5)


def _add_experiment_arguments(parser: argparse.ArgumentParser, seeds: int) -> None:
    parser.add_argument("--seeds", type=int, default=seeds, help=f"number of seeds, from 2020 on ({seeds})")
    parser.add_argument("--output", type=_path, help="folder of the experiment, also to continue it (results/...)")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; they share the cores (1)")


def _add_reproduce_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Further --key=value options are RecBole's or the models' and apply to all runs."
    parser.add_argument("--table", type=int, help="2 or 3")
    parser.add_argument("--setting", help="ml-1m-clean, ml-1m-noisy, yelp-clean, amazon-office, ...")
    _add_experiment_arguments(parser, seeds=3)


def _add_sweep_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", type=_path, help="a run's folder, also of one of compare, or its best.pth")
    parser.add_argument("--guidance_scales", default="0,0.25,0.5,0.75,1,1.5,2,3,4", help="(%(default)s)")
    parser.add_argument("--output", type=_path, help="folder for sweep.csv and figures")


def _add_tune_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Further --key=value options are RecBole's or the model's, as of a run."
    parser.add_argument("--model", help="name of the model")
    parser.add_argument("--dataset", help="name of the data set")
    parser.add_argument("--params_file", type=_path, help="search space (properties/hyper/MODEL.hyper)")
    parser.add_argument("--tool", default="optuna", help="optuna: one trial at a time; ray: several (%(default)s)")
    parser.add_argument("--algo", default="bayes", help="exhaustive, random or bayes (%(default)s)")
    parser.add_argument("--max_evals", type=int, help="number of trials (20; exhaustive: all combinations)")
    parser.add_argument("--config_files", default="", help='YAML files: "a.yaml b.yaml"')
    parser.add_argument("--output", type=_path, help="folder of the search, also to continue it (results/...)")
    parser.add_argument("--address", help="ray: of a running cluster, HOST:PORT or auto (this machine alone)")
    parser.add_argument("--cpus-per-trial", "--cpus_per_trial", type=int, default=1, help="ray: cores of a trial (1)")
    parser.add_argument("--gpus-per-trial", "--gpus_per_trial", type=float, default=0, help="ray: GPUs of a trial (0)")


def _further_options(known: argparse.Namespace, rest: list[str], *needed: str) -> dict[str, str]:
    """``parse_options``, of a command that has options of its own.

    Raises:
        ConfigError: also if one that is needed was not given, or if one of them is misspelt.
    """
    options = parse_options(rest)
    for name in needed:
        if not getattr(known, name):
            similar = nearest(name, options)
            hint = f" (is --{similar[0]} meant for it?)" if similar else ""
            raise ConfigError(f"{name}: none given; add --{name}={name.upper()}{hint}")
    for name in options:
        if similar := nearest(name.replace("-", "_"), set(vars(known)) - {"command"}):
            from recbole_cfgdiff.overlay.option_names import is_option

            if not is_option(name):
                raise ConfigError(f"unknown option {name}; did you mean --{similar[0]}?")
    return options


def _tune(known: argparse.Namespace, rest: list[str]) -> int:
    options = _further_options(known, rest, "model", "dataset")
    from recbole_cfgdiff.overlay.config import Config
    from recbole_cfgdiff.overlay.unread_options import check_all_are_read
    from recbole_cfgdiff.tuning.cluster import Cluster
    from recbole_cfgdiff.tuning.tune import tune

    silence_recbole_deprecations()
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
    return 0


def _compare(known: argparse.Namespace, rest: list[str]) -> int:
    if "model" in parse_options(rest):
        raise ConfigError("model: compare takes its models by --models=A,B")
    options = _further_options(known, rest, "models", "dataset")
    from recbole_cfgdiff.commands.compare import GUIDANCE_SCALES, compare
    from recbole_cfgdiff.runs.sweep import parse_scales

    silence_recbole_deprecations()
    scales = parse_scales(known.sweep_scales) if known.sweep_scales else GUIDANCE_SCALES
    output = known.output or Path("results") / known.dataset.replace(",", "-")
    files = known.config_files.split()
    compare(known.models, known.dataset, known.seeds, output, known.jobs, files, options, scales, known.tune_budget)
    return 0


def _reproduce(known: argparse.Namespace, rest: list[str]) -> int:
    options = _further_options(known, rest, "table", "setting")
    from recbole_cfgdiff.commands.reproduce import reproduce

    silence_recbole_deprecations()
    output = known.output or Path("results") / f"table{known.table}-{known.setting}"
    reproduce(known.table, known.setting, known.seeds, output, known.jobs, options)
    return 0


def _sweep(known: argparse.Namespace, rest: list[str]) -> int:
    if unknown := [*_further_options(known, rest, "checkpoint")]:
        raise ConfigError(f"sweep does not know --{unknown[0]}")
    from recbole_cfgdiff.reporting.outputs import check_output, told_if_not_written
    from recbole_cfgdiff.reporting.report import write_sweep
    from recbole_cfgdiff.runs.sweep import effects_of, parse_scales, sweep_checkpoint

    if known.output:
        check_output(known.output)
        with told_if_not_written(known.output, ConfigError):
            known.output.mkdir(parents=True, exist_ok=True)
    silence_recbole_deprecations()
    table, prepared = sweep_checkpoint(known.checkpoint, parse_scales(known.guidance_scales))
    columns = effects_of(prepared)
    print(tabulate(table[["part", "guidance_scale", *columns]], headers="keys", showindex=False, floatfmt=".4f"))
    if known.output:
        remove_left_overs(known.output)
        with told_if_not_written(known.output, ConfigError):
            write_sweep(table, prepared.config["model"], prepared.config["dataset"], columns, known.output)
        print(f"\nall metrics and figures: {known.output}")
    return 0


def _convert(known: argparse.Namespace, rest: list[str]) -> int:
    if rest:
        raise ConfigError(f"convert does not know {rest[0]}")
    for option, owner in _OF_ONE_SOURCE.items():
        if known.source != owner and getattr(known, option) is not None:
            raise ConfigError(f"--{option.replace('_', '-')} is an option of {owner}, not of {known.source}")
    check_name("--name", known.name)
    check_path("--output", known.output)
    _check_input_stays(known.input, known.output / known.name)
    layout = _layout(known) if known.source == "csv" else None
    source = open_source(known.source, known.input, _reading(known), known.version, layout)
    print(convert(source, known.name, known.output, known.overwrite))
    where = [f"--dataset={known.name}", *([] if known.output == Path("dataset") else [f"--data_path={known.output}"])]
    where += ['--eval_args={"order": "RO"}'] if layout and not layout.time else []  # there are no times to order by
    print()
    for what, command in _NEXT.items():
        print(f"{what}: {shlex.join(['python', '-m', 'recbole_cfgdiff', *command, *where])}")
    return 0


_NEXT = {
    "compare models on it": ["compare", "--models=Pop,EASE,MultVAE,DiffRec,CFGDiffRec", "--seeds=3"],
    "or train one": ["run", "--model=CFGDiffRec"],
}


def _check_input_stays(source: Path, target: Path) -> None:
    try:
        written, read = target.resolve(), source.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # too long a name, one with NUL, links in a circle
        raise ConfigError(f"{source}: there is no such file or folder ({error})") from error
    if written in (read, *read.parents):
        raise ConfigError(f"{target}: the input lies in the folder to be written; choose another --name or --output")


def _reading(known: argparse.Namespace) -> Reading:
    if known.encoding is not None:
        if known.source == "diffrec":
            raise ConfigError("--encoding is of text; arrays have none")
        check_encoding(known.encoding)
    if known.max_line_length < 1:
        raise ConfigError(f"--max-line-length: expected a number of characters, got {known.max_line_length}")
    return Reading(known.skip_bad_lines, known.encoding, known.max_line_length)


def _layout(known: argparse.Namespace) -> Layout:
    if not (known.user_col and known.item_col):
        raise ConfigError("csv: name the columns with --user-col and --item-col")
    delimiter = {None: ",", "tab": "\t", "\\t": "\t"}.get(known.delimiter, known.delimiter)
    if len(delimiter) != 1 or delimiter in '\r\n"\0':
        raise ConfigError(f"--delimiter: expected one character or tab, got {known.delimiter!r}")
    if known.time_unit and not known.time_col:
        raise ConfigError("--time-unit: there are no times without --time-col")
    columns = (known.user_col, known.item_col, known.rating_col, known.time_col)
    return Layout(*columns, delimiter, known.quotes, not known.no_header, known.time_unit)


def _guarded(
    command: Callable[[argparse.Namespace, list[str]], int], known: argparse.Namespace, rest: list[str]
) -> int:
    try:
        with interrupts.raised(), _threads_leave_refusals_to_the_main_one():
            _check_arguments(known)
            status = command(known, rest)
            sys.stdout.flush()
            return status
    except ConfigError as error:
        return _fail(error, status=2)
    except ModuleNotFoundError as error:
        return _fail(f"{error}: this needs the package {error.name}; install it by pip", status=2)
    except OSError as error:
        refusal = describe_refusal(error)
        if refusal is None:
            raise
        return _fail(refusal, status=2)
    except TrainingError as error:
        return _fail(error, status=1)
    except interrupts.Interrupted as interrupted:
        return _fail(interrupted, status=interrupted.status)
    except KeyboardInterrupt:  # from elsewhere than a signal
        return _fail(interrupts.Interrupted(signal.SIGINT), status=130)


def _check_arguments(known: argparse.Namespace) -> None:
    for name, value in vars(known).items():
        if "\0" in str(value):
            raise ConfigError(f"--{name}: expected a value without NUL characters, got {str(value)!r}")


@contextmanager
def _threads_leave_refusals_to_the_main_one() -> Iterator[None]:
    """TensorBoard's thread hands its errors to the main one and prints a traceback beside."""

    def hook(arguments: threading.ExceptHookArgs) -> None:
        if not isinstance(arguments.exc_value, OSError) or describe_refusal(arguments.exc_value) is None:
            before(arguments)

    before, threading.excepthook = threading.excepthook, hook
    try:
        yield
    finally:
        threading.excepthook = before


def _run(known: argparse.Namespace, rest: list[str]) -> int:
    options = parse_options(rest)
    # Only a run needs the models and trainers, which take seconds to import.
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
    with reported_as_training_error(f"the result is in {result['run_dir']}"):
        _tell(result)
    return 0


def _tell(result: dict[str, Any]) -> None:
    print(result_table(result))
    if "guidance_curve" in result:
        print(f"guidance scale, chosen by validation: {result['guidance_scale']:g}")
        if result["run_dir"]:
            # Only this needs the drawing library, which takes a second to import.
            from recbole_cfgdiff.reporting.report import draw_guidance_curve

            draw_guidance_curve(Path(result["run_dir"]))
    sys.stdout.flush()


def _fail(message: object, status: int) -> int:
    line = " ".join(str(message).splitlines())
    # What a file says may be meant for the terminal.
    line = "".join(each if each.isprintable() or each == "\t" else repr(each)[1:-1] for each in line)
    with suppress(OSError):  # where standard error can't be written to, the status tells
        print("error:", line, file=sys.stderr)
    return status


def parse_options(arguments: Sequence[str]) -> dict[str, str]:
    """Read ``--key=value`` and ``--key value`` arguments.

    Raises:
        ConfigError: on an argument of another form, or on two values for one key.
    """
    options: dict[str, str] = {}
    left = list(arguments)
    while left:
        argument = left.pop(0)
        key, equals, value = argument[2:].partition("=")
        if not equals and left and _is_value(left[0]):
            equals, value = "=", left.pop(0)
        if not argument.startswith("--") or not equals or not key:
            hint = f"; write {argument}=VALUE" if argument.startswith("--") and key and not equals else ""
            raise ConfigError(f"expected --key=value, got {argument}{hint}")
        if options.get(key, value) != value:
            raise ConfigError(f"--{key} is given twice: {options[key]} and {value}")
        options[key] = value
    return options


def _is_value(argument: str) -> bool:
    """Whether an argument can be the value of the one before: all that is no option itself, also a negative number."""
    return not argument.startswith("-") or re.fullmatch(r"-[\d.][\d.e+-]*", argument) is not None


def result_table(result: dict[str, Any]) -> str:
    """The validation and test metrics of a run, a line a metric, for the terminal."""
    parts = {"valid": result["best_valid_result"], "test": result["test_result"]}
    columns = {name: metrics for name, metrics in parts.items() if metrics}
    metrics = next(iter(columns.values()))
    rows = [[metric, *(values[metric] for values in columns.values())] for metric in metrics]
    folder = f"\n\nrun folder: {result['run_dir']}" if result["run_dir"] else ""
    return "\n" + tabulate(rows, headers=["metric", *columns], floatfmt=".4f") + folder
