"""A run that is ready to train: training, the choice of its guidance scale, the test, and its result file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging import getLogger
from pathlib import Path
from typing import Any, NamedTuple

from recbole.utils import set_color

from recbole_cfgdiff.errors import ConfigError, reported_as_training_error
from recbole_cfgdiff.files import write_json
from recbole_cfgdiff.overlay import checkpoint
from recbole_cfgdiff.overlay.config import Config
from recbole_cfgdiff.overlay.guidance_choice import choose_guidance_scale, store_guidance_choice, wants_choice
from recbole_cfgdiff.overlay.restoring import load_model_state
from recbole_cfgdiff.runs.folder import run_folder

RESULT = "result.json"


class Prepared(NamedTuple):
    """A run that is ready to train.

    Attributes:
        config: the configuration.
        dataset: RecBole's data set.
        trainer: has the model.
        train_data: loader of the training part.
        valid_data: loader of the validation part.
        test_data: loader of the test part.
        model_seconds: what it took to make the model, which is when RecBole fits EASE, ItemKNN and SLIMElastic.
    """

    config: Config
    dataset: Any
    trainer: Any
    train_data: Any
    valid_data: Any
    test_data: Any
    model_seconds: float = 0.0

    def fit(self, saved: bool = True, callback_fn: Callable[[int, float], None] | None = None) -> dict[str, Any]:
        """Train and validate.

        Args:
            saved: write checkpoints.
            callback_fn: called after each validation, with the epoch and the validation score.

        Returns:
            ``best_valid_score``, ``valid_score_bigger``, ``best_valid_result``, and of a model that chooses its
            guidance scale ``guidance_scale``, the chosen one, at which the former are, and ``guidance_curve``, the
            validation score by scale.
        """
        best_valid_score, best_valid_result = self.trainer.fit(
            self.train_data,
            self.valid_data,
            saved=saved,
            show_progress=self.config["show_progress"],
            callback_fn=callback_fn,
        )
        result = {
            "best_valid_score": best_valid_score,
            "valid_score_bigger": self.config["valid_metric_bigger"],
            "best_valid_result": best_valid_result,
        }
        return result | self._choose_guidance_scale(saved) if wants_choice(self.trainer) else result

    def _choose_guidance_scale(self, saved: bool) -> dict[str, Any]:
        best = self.trainer.run_dir / checkpoint.BEST
        if saved:
            load_model_state(self.trainer.model, checkpoint.load(best, self.config["device"]), best)
        choice = choose_guidance_scale(self.trainer, self.valid_data)
        if saved:
            store_guidance_choice(choice, best)
        return {
            "best_valid_score": choice.curve[choice.scale],
            "best_valid_result": choice.valid_result,
            "guidance_scale": choice.scale,
            "guidance_curve": choice.curve,
        }

    def test(self, load_best_model: bool = True) -> dict[str, float]:
        """The test metrics, of the best checkpoint or of the model as it is."""
        show_progress = self.config["show_progress"]
        return self.trainer.evaluate(self.test_data, load_best_model=load_best_model, show_progress=show_progress)

    def fit_and_test(self, saved: bool = True) -> dict[str, Any]:
        """What ``run`` returns; written as ``result.json`` into the run's folder if ``saved``.

        Raises:
            TrainingError: if the loss is not finite, or if the machine refuses something, such as more on a full disk.
        """
        run_dir = self.trainer.run_dir
        advice = (
            f"--resume={run_dir} goes on from its last checkpoint, or the same command anew where there is none yet"
        )
        with reported_as_training_error(advice if saved else "nothing was saved"):
            result = self.fit(saved)
            result["test_result"] = self.test(load_best_model=saved)
            if self.config["fit"] == "all":
                result |= {"fit": "all", "like": self.config["like"], "epochs": self.trainer.epochs}
            result["run_dir"] = str(run_dir) if saved else None
            if saved and self.config["local_rank"] == 0:
                _write_result(result, self.config, run_dir)
        if self.config["fit"] == "all":
            getLogger().info("trained on all rows; nothing was validated or tested")
            return result
        getLogger().info(set_color("best valid ", "yellow") + f": {result['best_valid_result']}")
        getLogger().info(set_color("test result", "yellow") + f": {result['test_result']}")
        return result


@contextmanager
def own_folder(run_dir: Path, config: Config) -> Iterator[None]:
    """Have the run's folder for this process, from before anything is trained until the result is written.

    Raises:
        ConfigError: if another process trains in it, or if a new run would be written over another.
    """
    with run_folder(run_dir):
        if not config["resume"]:
            if any((run_dir / name).exists() for name in (checkpoint.LAST, RESULT)):
                raise ConfigError(f"run_name: {run_dir} has a run already; choose another name, or --resume={run_dir}")
            (run_dir / checkpoint.BEST).unlink(missing_ok=True)  # of a run that was killed before its first last.pth
        yield


def _write_result(result: dict[str, Any], config: Config, run_dir: Path) -> None:
    """Write ``result.json``, with all options, into the run's folder."""
    record = {"model": config["model"], "dataset": config["dataset"], **result, "options": config.options}
    if not math.isfinite(record["best_valid_score"]):  # RecBole's mark of a run that was never validated
        record["best_valid_score"] = None
    write_json(run_dir / RESULT, checkpoint.encode(record))
