"""What guidance does to a trained model: accuracy, coverage, popularity and novelty by guidance scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.evaluation.collector import collect_guidance_scales, is_full_ranking
from recbole_cfgdiff.evaluation.metrics import beyond_accuracy, guidance_effects, list_length
from recbole_cfgdiff.evaluation.rankings import collect_rankings
from recbole_cfgdiff.runs.prepare import load_trained
from recbole_cfgdiff.runs.single import Prepared


def parse_scales(text: str) -> tuple[float, ...]:
    """Read ``0,0.5,1``.

    Raises:
        ConfigError: on anything but different finite numbers.
    """
    try:
        scales = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"guidance scales: expected numbers such as 0,0.5,1, got {text!r}") from error
    if not all(map(math.isfinite, scales)) or len(set(scales)) < len(scales):
        raise ConfigError(f"guidance scales: expected different finite numbers, got {text!r}")
    return scales


def is_guided(prepared: Prepared) -> bool:
    """Whether the model's scores depend on a guidance scale."""
    return getattr(prepared.trainer.model, "is_guided", False)


def parts_of(prepared: Prepared) -> dict[str, Any]:
    """The loaders of a sweep by name: valid, if there is a validation part, and test."""
    loaders = {"valid": prepared.valid_data, "test": prepared.test_data}
    return {part: loader for part, loader in loaders.items() if len(loader)}


def can_sweep(prepared: Prepared) -> bool:
    """Whether the model is guided and evaluated by full ranking, as ``sweep`` needs it."""
    return is_guided(prepared) and all(is_full_ranking(loader) for loader in parts_of(prepared).values())


def sweep(prepared: Prepared, guidance_scales: Sequence[float]) -> pd.DataFrame:
    """Metrics of the model as it is, under each guidance scale, on the validation and the test part.

    Args:
        prepared: with a trained model, for which ``is_guided``.
        guidance_scales: different finite numbers.

    Returns:
        ``part`` (valid or test), ``guidance_scale`` and the metrics, beyond accuracy too, a row for each part that
        there is and scale.
    """
    trainer, config, rows = prepared.trainer, prepared.config, []
    collect_rankings(trainer, prepared.train_data)
    k = list_length(config["valid_metric"], config["topk"])
    for part, loader in parts_of(prepared).items():
        for scale, collector in collect_guidance_scales(trainer, loader, guidance_scales).items():
            metrics = trainer.evaluator.evaluate(collector.get_data_struct())
            rows.append({"part": part, "guidance_scale": scale, **metrics, **beyond_accuracy(collector.ranking, k)})
    return pd.DataFrame(rows)


def sweep_checkpoint(checkpoint: Path, guidance_scales: Sequence[float]) -> tuple[pd.DataFrame, Prepared]:
    """``sweep`` of a trained model.

    Args:
        checkpoint: a ``best.pth`` or ``last.pth``, or the folder of a run, of an experiment's too.
        guidance_scales: different finite numbers.

    Raises:
        ConfigError: if it is no checkpoint of ours, or of a model without guidance.

    Returns:
        the table, and the model with its data.
    """
    prepared = load_trained(checkpoint)
    if not is_guided(prepared):
        raise ConfigError(
            f"checkpoint {checkpoint}: {prepared.config['model']} has no guidance scale; give a CFGDiffRec's"
        )
    if not parts_of(prepared):
        raise ConfigError(f"checkpoint {checkpoint}: it was trained on all rows, and none is left to measure by")
    return sweep(prepared, guidance_scales), prepared


def effects_of(prepared: Prepared) -> list[str]:
    """The columns of a sweep that tell most, by ``metrics.guidance_effects``."""
    valid_metric = prepared.config["valid_metric"].lower()
    return guidance_effects(valid_metric, list_length(valid_metric, prepared.config["topk"]))
