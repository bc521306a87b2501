"""``compare``: models side by side on the same data, split and seeds."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from recbole_cfgdiff.commands.arguments import (
    add_config_files,
    add_experiment_arguments,
    further_options,
    parse_options,
)
from recbole_cfgdiff.errors import ConfigError, TrainingError
from recbole_cfgdiff.names import check_name
from recbole_cfgdiff.overlay.plugins import without_plugins
from recbole_cfgdiff.properties import find_config_file
from recbole_cfgdiff.reporting.outputs import OutputFolder, Results
from recbole_cfgdiff.reporting.report import Section, notes, report
from recbole_cfgdiff.reporting.summary import first_place, meaning_of_marks, to_text
from recbole_cfgdiff.runs.data_sets import DataSets
from recbole_cfgdiff.runs.pool import check_jobs, run_missing
from recbole_cfgdiff.runs.spec import Variant, make_runs
from recbole_cfgdiff.runs.sweep import parse_scales
from recbole_cfgdiff.tuning.tune import BEST, has_space, plan_search, tune

GUIDANCE_SCALES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Those of the command, and those of any experiment."""
    parser.epilog = "Further --key=value options are RecBole's or the models' and apply to all of them."
    parser.add_argument("--models", help="names, as CFGDiffRec,MultVAE:mine.yaml,EASE")
    parser.add_argument("--dataset", help="a data set, or several separated by commas")
    add_config_files(parser)
    parser.add_argument("--sweep-scales", help="guidance scales at which guided models are also evaluated: 0,0.5,1")
    parser.add_argument("--tune-budget", type=int, default=0, help="trials to tune each model (0)")
    add_experiment_arguments(parser, seeds=5)


def call(known: argparse.Namespace, rest: list[str]) -> None:
    """``compare`` by arguments of the command line."""
    if "model" in parse_options(rest):
        raise ConfigError("model: compare takes its models by --models=A,B")
    options = further_options(known, rest, "models", "dataset")
    scales = parse_scales(known.sweep_scales) if known.sweep_scales else GUIDANCE_SCALES
    output = known.output or Path("results") / known.dataset.replace(",", "-")
    files = known.config_files.split()
    compare(known.models, known.dataset, known.seeds, output, known.jobs, files, options, scales, known.tune_budget)


def parse_variants(models: str) -> list[Variant]:
    """Read ``A,B:settings.yaml``: models, each with a YAML file of its own or as it is shipped.

    Raises:
        ConfigError: on an empty list or name.
    """
    variants = []
    for name in models.split(","):
        model, _, config_file = name.strip().partition(":")
        if not model:
            raise ConfigError(f"models: expected names such as CFGDiffRec,MultVAE,EASE:mine.yaml, got {models!r}")
        label = f"{model}:{Path(config_file).stem}" if config_file else model
        for part in filter(None, (model, Path(config_file).name)):
            check_name("models", part)
        variants.append(Variant(label, model, {}, (config_file,) if config_file else ()))
    return variants


def compare(
    models: str,
    datasets: str,
    n_seeds: int,
    output: Path,
    jobs: int = 1,
    config_files: Sequence[str] = (),
    options: dict[str, Any] | None = None,
    guidance_scales: Sequence[float] = GUIDANCE_SCALES,
    tune_budget: int = 0,
    say: Callable[[str], None] = print,
) -> None:
    """Train and test every model on every data set with every seed, as far as that is not done, and report.

    Args:
        models: as of ``parse_variants``.
        datasets: names, separated by commas.
        n_seeds: seeds ``2020, 2021, ...``, so many.
        output: the experiment's folder. More models and seeds can be added to one; other data sets, options or config
            files are another experiment.
        jobs: runs at a time.
        config_files: YAML files for all models.
        options: options for all models, over everything else.
        guidance_scales: at which guided models are also evaluated.
        tune_budget: trials of a search that each model goes through first, on each data set, in its own space; 0 takes
            the settings as they are. Models without a space, such as Pop, stay as they are.
        say: called with each line of progress, then with the tables.

    Raises:
        ConfigError: on a mistake in the options or in the data, before anything is run.
        TrainingError: if a run failed, after everything else was done and reported.
    """
    check_jobs(jobs)
    if tune_budget < 0:
        raise ConfigError(f"tune_budget: expected at least 0, got {tune_budget}")
    options = options or {}
    names, variants = [name.strip() for name in datasets.split(",")], parse_variants(models)
    data_sets = DataSets()
    runs = make_runs(variants, names, n_seeds, config_files, options, guidance_scales, data_sets)
    if tune_budget:
        for name in names:
            _check_searches(variants, name, tune_budget, config_files, options, data_sets)
    identity = {
        "command": "compare",
        "datasets": names,
        "options": without_plugins(options),
        "guidance_scales": list(guidance_scales),
        "tune_budget": tune_budget,
        "config_files": {name: find_config_file(name).read_text(encoding="utf-8") for name in config_files},
    }
    with OutputFolder(output, identity):
        if tune_budget:
            runs = []
            for name in names:
                tuned = _tuned(variants, name, output, tune_budget, config_files, options, data_sets, say)
                runs += make_runs(tuned, [name], n_seeds, config_files, options, guidance_scales, data_sets)
        run_missing(runs, output, jobs, say, data_sets)
        results, sections = report(f"Comparison on {', '.join(names)}", runs, output)
    _say_report(results, sections, output, say)
    failed = int((results.table["status"] == "failed").sum())
    if failed:
        raise TrainingError(f"{failed} of {len(runs)} runs failed; see the notes above and {output / 'results.csv'}")


def _say_report(results: Results, sections: Sequence[Section], output: Path, say: Callable[[str], None]) -> None:
    """The tables, the notes, and where the rest is."""
    for section in sections:
        say(f"\n{section.summary.dataset}, test, mean ± standard deviation over the seeds")
        say(to_text(section.summary, section.metrics[0]))
        say(meaning_of_marks(section.summary))
        say(f"\n{first_place(section.summary, section.metric)}")
    for note in notes(results, sections):
        say(f"note: {note}")
    for run in results.first_by_validation():
        say(
            f"\nto use {run.label}, first by validation on {run.dataset}: python -m recbole_cfgdiff run --fit=all "
            f"--like={shlex.quote(str(run.folder(output)))}"
        )
    say(f"\nreport: {output / 'report.html'}")


def _check_searches(
    variants: Sequence[Variant],
    dataset: str,
    budget: int,
    config_files: Sequence[str],
    options: dict[str, Any],
    data_sets: DataSets,
) -> None:
    """Check all searches before the first; two that differ in nothing but what is searched would end alike."""
    seen: dict[str, str] = {}
    for variant in variants:
        if not has_space(variant.model):
            continue
        files = [*config_files, *variant.config_files]
        plan = plan_search(
            variant.model, dataset, max_evals=budget, config_files=files, options=options, data_sets=data_sets
        )
        fixed = {name: value for name, value in plan.config.options.items() if name not in plan.space}
        what = json.dumps([plan.config["model"], {**fixed, "chosen_by": None}], sort_keys=True)
        if what in seen:
            raise ConfigError(f"models: {seen[what]} and {variant.label} differ in nothing but what is tuned")
        seen[what] = variant.label


def _tuned(
    variants: Sequence[Variant],
    dataset: str,
    output: Path,
    budget: int,
    config_files: Sequence[str],
    options: dict[str, Any],
    data_sets: DataSets,
    say: Callable[[str], None],
) -> list[Variant]:
    """The variants with the settings that a search on the data set chose, by validation with the first seed."""
    tuned = []
    for variant in variants:
        if not has_space(variant.model):
            tuned.append(variant)
            continue
        say(f"tuning {variant.label} on {dataset}")
        folder = output / "tune" / dataset / variant.label.replace(":", "-")
        files = [*config_files, *variant.config_files]
        tune(
            variant.model,
            dataset,
            folder,
            max_evals=budget,
            config_files=files,
            options=options,
            say=say,
            data_sets=data_sets,
        )
        tuned.append(replace(variant, config_files=(*variant.config_files, str(folder / BEST))))
    return tuned
