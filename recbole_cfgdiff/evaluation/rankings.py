"""What an evaluation recommended to whom: everything from which per-user metrics and tests are computed later."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np
import torch
from recbole.evaluator.collector import DataStruct
from recbole.utils import EvaluatorType

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.evaluation.collector import SparseCollector
from recbole_cfgdiff.files import in_one_piece

_MOST_BYTES = 2**31  # of all arrays, unpacked
# Kind of each array, and its shape: letters stand for lengths.
_ARRAYS = {
    "users": ("U", "N"),
    "history_length": ("iu", "N"),
    "items": ("iu", "Nk"),
    "n_targets": ("iu", "N"),
    "target_rows": ("iu", "P"),
    "target_items": ("iu", "P"),
    "item_counts": ("iu", "n"),
    "n_users": ("iu", ""),
}


class Ranking(NamedTuple):
    """The recommendations of one evaluation. A row is a ranking, of which a user may have several.

    Attributes:
        users: the user of each row, as in the data, shape ``(N,)``.
        history_length: number of training interactions of the row's user, shape ``(N,)``.
        items: recommended items, best first, internal ids, shape ``(N, k)``.
        n_targets: number of items to be found, shape ``(N,)``.
        target_rows: row of each target, shape ``(P,)``.
        target_items: item of each target, shape ``(P,)``.
        item_counts: training interactions of each item, RecBole's padding item 0 included, shape ``(n,)``.
        n_users: number of users in the data.
    """

    users: np.ndarray
    history_length: np.ndarray
    items: np.ndarray
    n_targets: np.ndarray
    target_rows: np.ndarray
    target_items: np.ndarray
    item_counts: np.ndarray
    n_users: np.ndarray

    @property
    def hits(self) -> np.ndarray:
        """Whether each recommended item is a target, bool, shape ``(N, k)``."""
        n_items = len(self.item_counts)
        recommended = np.arange(len(self.items))[:, None] * n_items + self.items.astype(np.int64)
        return np.isin(recommended, self.target_rows.astype(np.int64) * n_items + self.target_items)

    def save(self, path: Path) -> None:
        """Write a compressed ``.npz``; a reader sees the whole file or none."""
        smallest = {name: _smallest(value) for name, value in self._asdict().items()}
        with in_one_piece(path) as unfinished:
            np.savez_compressed(unfinished, **smallest)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> Ranking:
        """Read what ``save`` wrote; nothing in the file is executed, and its sizes are checked before it is read.

        Raises:
            ConfigError: if it is anything else, or damaged.
        """
        if not path.is_file():
            raise ConfigError(f"{path}: there is no such file")
        try:
            _check_sizes(path)
            with np.load(path, allow_pickle=False) as arrays:
                ranking = cls(**{name: arrays[name] for name in cls._fields})
        except Exception as error:  # whatever a damaged file makes the reader stumble over
            raise ConfigError(f"{path}: damaged, or no rankings: {error}") from error
        if fault := ranking._fault():
            raise ConfigError(f"{path}: damaged, or no rankings: {fault}")
        return ranking

    def _fault(self) -> str:
        """What can't be in values of the right types and shapes; empty if nothing is wrong."""
        if not len(self.users) or self.items.shape[1] < 1:
            return "no rankings"
        if len(self.item_counts) < 2 or self.n_users < 1:
            return "no users or items in the data"
        if not all(_all_within(each, 0, 2**53) for each in (self.history_length, self.item_counts)):
            return "negative or huge numbers"
        if self.n_targets.min() < 1:
            return "rankings without a target"
        n_items = len(self.item_counts)
        if not _all_within(self.items, 0, n_items) or not _all_within(self.target_items, 1, n_items):
            return "items that are not in the data"
        if not _all_within(self.target_rows, 0, len(self.users)):
            return "targets of no ranking"
        return ""


def _all_within(values: np.ndarray, low: int, high: int) -> bool:
    return bool(((values >= low) & (values < high)).all())


def _check_sizes(path: Path) -> None:
    """Check by the archive's table and the arrays' headers that they fit each other.

    Raises:
        ValueError: otherwise.
    """
    with zipfile.ZipFile(path) as archive:
        sizes = {member.filename: member.file_size for member in archive.infolist()}
        if sorted(sizes) != sorted(f"{name}.npy" for name in Ranking._fields) or sum(sizes.values()) > _MOST_BYTES:
            raise ValueError(f"expected {len(Ranking._fields)} arrays of at most {_MOST_BYTES:,} bytes")
        lengths: dict[str, int] = {}
        for name, (kinds, shape) in _ARRAYS.items():
            with archive.open(f"{name}.npy") as file:
                found, dtype = _read_header(file)
                if dtype.kind not in kinds or len(found) != len(shape):
                    raise ValueError(f"{name}: unexpected type or shape")
                if any(lengths.setdefault(letter, length) != length for letter, length in zip(shape, found)):
                    raise ValueError(f"{name}: its length is not that of the others")
                if sizes[f"{name}.npy"] != file.tell() + math.prod(found) * dtype.itemsize:
                    raise ValueError(f"{name}: its size is not that of its header")


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("expected version 1.0 of the format of arrays")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return shape, dtype


def _smallest(values: np.ndarray) -> np.ndarray:
    """The same integers in the smallest type that holds them; others as they are."""
    if values.dtype.kind not in "iu" or values.size == 0:
        return values
    return values.astype(np.result_type(np.min_scalar_type(values.max()), np.min_scalar_type(values.min())))


class RankingCollector(SparseCollector):
    """The evaluation's collector, which also keeps the rankings themselves.

    Args:
        config: RecBole's configuration, with ranking metrics.
        train_data: the training loader; what the rankings are seen against.

    Attributes:
        ranking: the rankings of the last evaluation that ended.
    """

    ranking: Ranking

    def __init__(self, config: Any, train_data: Any) -> None:
        super().__init__(config)
        self._needs_items = self._needs_hits = True
        self._dataset = train_data._dataset
        self.data_collect(train_data)
        self._forget()

    def emptied(self) -> RankingCollector:
        """A collector of the same metrics and the same facts about the data, with nothing collected."""
        other = cast(RankingCollector, super().emptied())
        other._forget()
        return other

    def _forget(self) -> None:
        self._rows = 0
        self._users: list[torch.Tensor] = []
        self._targets: list[torch.Tensor] = []

    def eval_batch_collect(
        self, scores_tensor: torch.Tensor, interaction: Any, positive_u: torch.Tensor, positive_i: torch.Tensor
    ) -> None:
        """Collect a batch of users. Arguments as RecBole's."""
        super().eval_batch_collect(scores_tensor, interaction, positive_u, positive_i)
        users = interaction[self._dataset.uid_field].cpu()
        # Sampled evaluation has a row of the interaction for each pair.
        self._users.append(users if len(users) == len(scores_tensor) else users.unique_consecutive())
        self._targets.append(torch.stack([positive_u.cpu() + self._rows, positive_i.cpu()]))
        self._rows += len(scores_tensor)

    def get_data_struct(self) -> DataStruct:
        """What was collected, for the metrics; ``ranking`` is made of it."""
        collected = super().get_data_struct()
        self.ranking = self._make_ranking(collected)
        self._forget()
        return collected

    def _make_ranking(self, collected: DataStruct) -> Ranking:
        dataset, inter = self._dataset, self._dataset.inter_feat
        users = torch.cat(self._users)
        targets = torch.cat(self._targets, dim=1).unique(dim=1).numpy()
        history_length = np.bincount(inter[dataset.uid_field].numpy(), minlength=dataset.user_num)
        return Ranking(
            users=dataset.id2token(dataset.uid_field, users.numpy()).astype(str),
            history_length=history_length[users.numpy()],
            items=collected.get("rec.items").numpy(),
            n_targets=collected.get("rec.topk")[:, -1].numpy(),
            target_rows=targets[0],
            target_items=targets[1],
            item_counts=np.bincount(inter[dataset.iid_field].numpy(), minlength=dataset.item_num),
            n_users=np.array(dataset.user_num - 1),
        )


def collect_rankings(trainer: Any, train_data: Any) -> RankingCollector:
    """Let the trainer's evaluations keep their rankings.

    Raises:
        ConfigError: if its metrics are not of rankings.
    """
    require_rankings(trainer.config)
    trainer.eval_collector = RankingCollector(trainer.config, train_data)
    return trainer.eval_collector


def require_rankings(config: Any) -> None:
    """Check that what is evaluated are rankings.

    Raises:
        ConfigError: otherwise.
    """
    if config["eval_type"] is not EvaluatorType.RANKING:
        raise ConfigError(f"metrics: expected metrics of rankings, such as NDCG, got {config['metrics']}")
