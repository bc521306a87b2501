"""RecBole's full-ranking evaluation, without the work that does not depend on the scores."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from copy import copy, deepcopy
from typing import Any, TypeVar

import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.evaluator import Collector
from recbole.evaluator.collector import DataStruct

from recbole_cfgdiff.diffusion import SparseRows
from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.evaluation.reading import given_histories

Setting = TypeVar("Setting", bound=Hashable)


class SparseCollector(Collector):
    """RecBole's ``Collector``, which marks each user's targets in a matrix of users x items to look up the few that
    were recommended; here they are looked up in a sorted list."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._needs_items, self._needs_hits = (self.register.need(name) for name in ("rec.items", "rec.topk"))
        # What is done here is not done again by RecBole's method.
        setattr(self.register, "rec.items", False)
        setattr(self.register, "rec.topk", False)

    def eval_batch_collect(
        self, scores_tensor: torch.Tensor, interaction: Any, positive_u: torch.Tensor, positive_i: torch.Tensor
    ) -> None:
        """Collect the recommended items, and which of them are targets, of a batch of users. Arguments as RecBole's."""
        super().eval_batch_collect(scores_tensor, interaction, positive_u, positive_i)
        if not (self._needs_items or self._needs_hits):
            return
        items = torch.topk(scores_tensor, max(self.topk), dim=-1).indices
        if self._needs_items:
            self.data_struct.update_tensor("rec.items", items)
        if self._needs_hits:
            self.data_struct.update_tensor("rec.topk", _hits(items, scores_tensor.shape[1], positive_u, positive_i))

    def emptied(self) -> SparseCollector:
        """A collector of the same metrics and the same facts about the data, with nothing collected."""
        other = copy(self)
        other.data_struct = deepcopy(self.data_struct)
        return other

    def get_data_struct(self) -> DataStruct:
        """What was collected, for the metrics; the next evaluation starts anew.

        RecBole 1.2.1 moves all of it to the CPU, which fails for the numbers and counters that ItemCoverage,
        AveragePopularity, GiniIndex, ShannonEntropy and TailPercentage need.
        """
        struct = self.data_struct._data_dict
        plain = {name: value for name, value in struct.items() if not isinstance(value, torch.Tensor)}
        for name in plain:
            del struct[name]
        collected = super().get_data_struct()
        struct.update(plain)
        collected._data_dict.update(plain)
        return collected


def _hits(items: torch.Tensor, n_items: int, positive_u: torch.Tensor, positive_i: torch.Tensor) -> torch.Tensor:
    """Whether each recommended item is a target, and in the last column the number of targets; int64, ``(B, k + 1)``.

    Args:
        items: recommended items, shape ``(B, k)``.
        n_items: number of items ``n``.
        positive_u: row of each target, shape ``(P,)``.
        positive_i: item of each target, shape ``(P,)``.
    """
    targets = (positive_u * n_items + positive_i).unique().to(items.device)
    n_targets = torch.bincount(targets // n_items, minlength=len(items))
    rows = torch.arange(len(items), device=items.device)[:, None]
    hits = torch.isin(rows * n_items + items, targets)
    return torch.cat([hits, n_targets[:, None]], dim=1)


def evaluate_guidance_scales(
    trainer: Any, eval_data: Any, guidance_scales: Sequence[float]
) -> dict[float, dict[str, float]]:
    """The metrics of the trainer's model, as it is, under each guidance scale. Arguments and errors as in
    ``collect_guidance_scales``.

    Returns:
        metrics by scale.
    """
    collectors = collect_guidance_scales(trainer, eval_data, guidance_scales)
    return {scale: trainer.evaluator.evaluate(collector.get_data_struct()) for scale, collector in collectors.items()}


def collect_guidance_scales(
    trainer: Any, eval_data: Any, guidance_scales: Sequence[float]
) -> dict[float, SparseCollector]:
    """``collect_sweep`` of the model's scores under each guidance scale; its ``guidance_scale`` stays as it is.

    Arguments and errors as of ``collect_sweep``; scales are any finite numbers.
    """
    scales = list(dict.fromkeys(guidance_scales))
    return collect_sweep(trainer, eval_data, scales, lambda history: trainer.model.guidance_sweep(history, scales))


@torch.no_grad()
def collect_sweep(
    trainer: Any,
    eval_data: Any,
    settings: Sequence[Setting],
    sweep: Callable[[SparseRows], Iterable[torch.Tensor]],
) -> dict[Setting, SparseCollector]:
    """Evaluate several scores of the same users, by full ranking.

    Histories, masks and whatever else does not depend on the setting are computed once, and one setting's scores are
    held at a time.

    Args:
        trainer: of a ``HistoryRecommender``, trained or with loaded weights.
        eval_data: a loader of full ranking.
        settings: what the scores are told apart by, all different.
        sweep: from ``B`` histories to the scores under each setting in turn, shape ``(B, n)``, which are written over.

    Raises:
        ConfigError: for another loader, or in one of several processes.

    Returns:
        by setting, a collector like the trainer's with what the metrics need.
    """
    if not is_full_ranking(eval_data):
        raise ConfigError("guidance scales: only full ranking is supported, set mode to full in eval_args")
    if not trainer.config["single_spec"]:
        raise ConfigError("guidance scales: only a single process is supported")
    model = trainer.model
    model.eval()
    collectors = {setting: trainer.eval_collector.emptied() for setting in settings}
    with model.fixed_weights(), given_histories(model, eval_data):
        for interaction, history_index, positive_u, positive_i in eval_data:
            history = model.histories.select(interaction[model.USER_ID].to(trainer.device))
            for scores, collector in zip(sweep(history), collectors.values()):
                scores[:, 0] = -torch.inf  # RecBole's padding item
                scores[history_index] = -torch.inf
                collector.eval_batch_collect(scores, interaction, positive_u, positive_i)
    return collectors


def is_full_ranking(eval_data: Any) -> bool:
    """Whether a loader ranks all items for each user, once."""
    return isinstance(eval_data, FullSortEvalDataLoader) and not eval_data.is_sequential
