"""Own model: a variant with a hyperparameter of its own, which guides by the latest items only.

    python examples/own_model.py
    python -m recbole_cfgdiff run --plugins=examples/own_model.py --model=LatestCFGDiffRec --dataset=ml-100k

``tests/contract.py`` tells whether a model keeps what ours keep: ``check_model("LatestCFGDiffRec", "ml-100k")``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from recbole_cfgdiff.diffusion import NoiseSchedule, Restoration, SparseRows
from recbole_cfgdiff.model import MODELS, CFGDiffRec
from recbole_cfgdiff.options import Integer
from recbole_cfgdiff.quick_start import run
from recbole_cfgdiff.scoring.hyperparameters import CFGDiffRecHyperparameters, hyperparameter


@dataclass(frozen=True)
class LatestHyperparameters(CFGDiffRecHyperparameters):
    """Of ``LatestCFGDiffRec``."""

    n_latest: int = hyperparameter(10, Integer(1), "How many of a user's latest items are the guidance.")


class LatestRestoration(Restoration):
    """The history is diffused, and its latest items guide."""

    n_latest = 10

    def training_example(self, history: SparseRows) -> tuple[SparseRows, SparseRows]:
        """Shapes as of ``Restoration``."""
        return history, self._latest(history)

    def inference_start(self, history: SparseRows) -> tuple[Any, SparseRows]:
        """Shapes as of ``Restoration``."""
        return super().inference_start(history)[0], self._latest(history)

    def _latest(self, history: SparseRows) -> SparseRows:
        is_latest = history.places() >= history.counts()[history.row] - self.n_latest
        return replace(history, values=history.values * is_latest)


class LatestCFGDiffRec(CFGDiffRec):
    """CFGDiffRec guided by the latest items."""

    hyperparameters_class = LatestHyperparameters

    @staticmethod
    def make_task(given: Any, n_items: int, schedule: NoiseSchedule) -> Restoration:
        """As above."""
        task = LatestRestoration(n_items, schedule, given.sampling_steps)
        task.n_latest = given.n_latest
        return task


MODELS["LatestCFGDiffRec"] = LatestCFGDiffRec


def main(dataset: str = "ml-100k", epochs: int = 10) -> float:
    """NDCG@10."""
    return run("LatestCFGDiffRec", dataset, config_dict={"epochs": epochs, "n_latest": 5})["test_result"]["ndcg@10"]


if __name__ == "__main__":
    print(main())
