"""What an experiment is made of: variants of models, each trained on each data set with each seed, a folder a run."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from recbole.utils import ModelType

from recbole_cfgdiff.data.sequences import needs_sequences
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.escape import file_name, one_line
from recbole_cfgdiff.evaluation.rankings import require_rankings
from recbole_cfgdiff.files import read_json, remove_left_overs, write_json
from recbole_cfgdiff.names import check_name
from recbole_cfgdiff.overlay import checkpoint
from recbole_cfgdiff.overlay.config import Config, resolve_model
from recbole_cfgdiff.overlay.option_rules import check_compares
from recbole_cfgdiff.overlay.options import HYPERPARAMETERS, OPTIONS, SAME_FOR_ALL_MODELS, SURROUNDINGS
from recbole_cfgdiff.overlay.plugins import check_found_by_workers, found_from_elsewhere
from recbole_cfgdiff.overlay.unread_options import check_all_are_read, options_without_effect
from recbole_cfgdiff.properties import find_config_file
from recbole_cfgdiff.runs.data_sets import DataSets

FIRST_SEED = 2020

SPEC = "spec.json"
RECORD = "record.json"
CURVE = "curve.csv"
LOG = "log.txt"
TEST = "test.npz"
PROGRESS = "progress.json"
SWEEP = "sweep.csv"
CHECKPOINTS = checkpoint.FOLDER


@dataclass(frozen=True)
class Variant:
    """A line of the tables: a model and its settings.

    Attributes:
        label: its name in the tables.
        model: name of the model.
        options: options given for this variant.
        config_files: YAML files given for this variant.
    """

    label: str
    model: str
    options: dict[str, Any]
    config_files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """One training and test.

    Attributes:
        label: the variant's name in the tables.
        model: name of the model.
        dataset: name of the data set.
        seed: of all random numbers.
        options: all options, as ``Config.options`` has them.
        hyperparameters: how they were chosen, as of ``describe_hyperparameters``.
        guidance_scales: at which a guided model is also evaluated.
        is_tested: whether the test part is evaluated; trials of a search are not tested.
        data_hash: of the files of the data set; empty where it is not known.
    """

    label: str
    model: str
    dataset: str
    seed: int
    options: dict[str, Any]
    hyperparameters: str
    guidance_scales: tuple[float, ...] = ()
    is_tested: bool = True
    data_hash: str = ""

    @property
    def config_hash(self) -> str:
        """The same for runs that differ in nothing but the seed and their surroundings."""
        kept = {name: value for name, value in self.options.items() if name not in SURROUNDINGS}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]

    def folder(self, output: Path) -> Path:
        """Where the run's files are."""
        return output / "runs" / self.dataset / file_name(self.label) / str(self.seed)

    def __str__(self) -> str:
        return f"{self.label} on {self.dataset}, seed {self.seed}"


def make_runs(
    variants: Sequence[Variant],
    datasets: Sequence[str],
    n_seeds: int,
    config_files: Sequence[str] = (),
    options: dict[str, Any] | None = None,
    guidance_scales: Sequence[float] = (),
    data_sets: DataSets | None = None,
) -> list[Run]:
    """All runs of an experiment, seed by seed, so that a first complete table is there early.

    Args:
        variants: with different labels.
        datasets: names of data sets.
        n_seeds: seeds ``2020, 2021, ...``, so many.
        config_files: YAML files for all variants, under each variant's own.
        options: options for all variants, over everything else.
        guidance_scales: at which guided models are also evaluated.
        data_sets: those of the experiment; None reads them for this call.

    Raises:
        ConfigError: on a mistake in the above, before anything is run, also if the models would not be tested alike. A
            value that only the model itself checks, when it is made, is found by its run.
    """
    options, data_sets = options or {}, data_sets or DataSets()
    check_names(datasets, config_files)
    if n_seeds < 1:
        raise ConfigError(f"seeds: expected at least 1, got {n_seeds}")
    labels = (file_name(variant.label).lower() for variant in variants)
    _check_different("models", labels, hint="; the config files of one model need different names")
    _check_different("dataset", datasets)
    planned, hashes = [], {}
    for dataset in datasets:
        configs = {}
        for variant in variants:
            files, given = [*config_files, *variant.config_files], {**variant.options, **options}
            config = configs[variant.label] = Config(variant.model, dataset, files, given)
            _check_fits_an_experiment(config)
            planned.append((variant, config, describe_hyperparameters(config, files, given)))
        _check_comparable(configs)
        check_all_are_read(list(configs.values()))
        hashes[dataset] = data_sets.check(config)
    return [
        Run(
            variant.label,
            config["model"],
            config["dataset"],
            seed,
            options_of(config),
            hyperparameters,
            tuple(guidance_scales),
            data_hash=hashes[config["dataset"]],
        )
        for seed in range(FIRST_SEED, FIRST_SEED + n_seeds)
        for variant, config, hyperparameters in planned
    ]


def check_names(datasets: Sequence[str], config_files: Sequence[str]) -> None:
    """Check the names that reach tables and the names of files.

    Raises:
        ConfigError: on one with control characters, a line break, or ``-`` or ``=`` at its beginning.
    """
    for name in datasets:
        check_name("dataset", name)
    for path in config_files:
        check_name("config_files", Path(path).name)


def _check_fits_an_experiment(config: Config) -> None:
    for name in ("seed", "resume"):
        if name in config.external_config_dict:
            raise ConfigError(f"{name}: an experiment seeds its several runs (--seeds=5) and continues them itself")
    check_compares(config)
    if config["MODEL_TYPE"] is ModelType.SEQUENTIAL and not needs_sequences(config):
        raise ConfigError(f"model {config['model']}: RecBole tests sequential models on other rows than general ones")
    require_rankings(config)
    check_found_by_workers(config)


def _check_comparable(configs: dict[str, Config]) -> None:
    """Check that all variants see the same data, split and metrics, and that no two are the same."""
    (first, reference), *others = configs.items()
    for label, config in others:
        for name in SAME_FOR_ALL_MODELS:
            if config[name] != reference[name]:
                raise ConfigError(
                    f"{name}: it must be the same for all models, but is {reference[name]} for {first} and "
                    f"{config[name]} for {label}; give it for all, such as --{name}=..."
                )
    seen: dict[str, str] = {}
    for label, config in configs.items():
        what = json.dumps([config["model"], config.options], sort_keys=True)
        if what in seen:
            raise ConfigError(f"models: {seen[what]} and {label} are the same model with the same options")
        seen[what] = label


def options_of(config: Config) -> dict[str, Any]:
    """All options of a run that is made in another working directory, but for those that it would not read, which were
    given for other models."""
    unread = options_without_effect(config)
    kept = {name: value for name, value in config.options.items() if name not in unread}
    if "plugins" in kept:
        kept["plugins"] = found_from_elsewhere(kept["plugins"])
    return {**kept, "data_path": str(Path(config.options["data_path"]).resolve())}


def _check_different(option: str, names: Iterable[str], hint: str = "") -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ConfigError(f"{option}: {name} is given twice{hint}")
        seen.add(name)


def _keys(path: Path) -> set[str]:
    return set(yaml.safe_load(path.read_text(encoding="utf-8")) or {})


def describe_hyperparameters(config: Config, config_files: Sequence[str], options: Iterable[str]) -> str:
    """How the hyperparameters of a run were chosen, for the tables.

    Args:
        config: of the run.
        config_files: YAML files that were given.
        options: names of options that were given beside them.

    Returns:
        ``chosen_by`` of the options where it is set, as in a file that a search wrote; otherwise ``given:`` with the
        files and options that set any; otherwise ``shipped YAML``.

    Raises:
        ConfigError: if they were chosen for another model.
    """
    if config["chosen_by"]:
        of_model = config.external_config_dict.get("model")
        if of_model and resolve_model(of_model) is not config.model_class:
            raise ConfigError(
                f"{', '.join(config_files)}: its settings were chosen for {of_model}, not for {config['model']}"
            )
        return one_line(str(config["chosen_by"]))
    foreign = {*OPTIONS, *config.unread_options} - set(HYPERPARAMETERS)
    beside_the_data = Path(config["data_path"]) / f"{config['dataset']}.yaml"
    files = [*filter(Path.is_file, [beside_the_data]), *map(find_config_file, config_files)]
    given = [path.name for path in files if _keys(path) - foreign]
    given += sorted(set(options) - foreign)
    return f"given: {', '.join(given)}" if given else "shipped YAML"


@dataclass(frozen=True)
class Told:
    """What a worker tells while it works, in ``PROGRESS``.

    Attributes:
        note: what its user has to know; empty if there is nothing.
        epochs: trained so far.
        most: epochs there can be.
        seconds: of training so far.
    """

    note: str = ""
    epochs: int = 0
    most: int = 0
    seconds: float = 0.0


def make_folder(run: Run, folder: Path) -> None:
    """Make a run's folder ready for a worker, which reads the run there; what an unfinished run with the same options
    left is kept."""
    if (folder / SPEC).exists() and not _is_spec_of(run, folder):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (SPEC, RECORD, CURVE, LOG, TEST, SWEEP, PROGRESS):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
    if (folder / CHECKPOINTS).is_file():
        (folder / CHECKPOINTS).unlink()
    for part in (folder, folder / CHECKPOINTS):
        remove_left_overs(part)
    for name in (RECORD, PROGRESS):
        (folder / name).unlink(missing_ok=True)
    write_json(folder / SPEC, asdict(run))


def _is_spec_of(run: Run, folder: Path) -> bool:
    try:
        before = read_spec(folder)
    except ConfigError:
        return False
    return before.config_hash == run.config_hash and before.data_hash in ("", run.data_hash)


def read_spec(folder: Path) -> Run:
    """The run that ``make_folder`` wrote.

    Raises:
        ConfigError: if it can't be one.
    """
    path = folder / SPEC
    try:
        content = read_json(path)
        run = Run(**{**content, "guidance_scales": tuple(content["guidance_scales"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{path}: damaged: {error}") from error
    if not isinstance(run.options, dict) or not all(isinstance(text, str) for text in (run.label, run.data_hash)):
        raise ConfigError(f"{path}: damaged")
    return run


def check_is_of(run: Run, path: Path) -> None:
    """Check that a checkpoint is of a run.

    Raises:
        ConfigError: if it is not, or if it is damaged.
    """
    state = checkpoint.load(path)
    options = {**run.options, "seed": run.seed}
    names = set(options) & set(state["options"]) - (SURROUNDINGS - {"seed"})
    ours, its = (json.dumps([each[name] for name in sorted(names)]) for each in (options, state["options"]))
    if (state["model"], state["dataset"], its) != (run.model, run.dataset, ours):
        raise ConfigError(f"checkpoint {path}: it is another run's")
