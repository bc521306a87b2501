"""RecBole's trainers with checkpoints that can be resumed exactly and read safely."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

import recbole.trainer.trainer
import recbole.utils
import torch
from recbole.trainer import Trainer
from recbole.utils import ModelType, get_tensorboard

from recbole_cfgdiff.compat import replaced
from recbole_cfgdiff.errors import ConfigError, TrainingError
from recbole_cfgdiff.evaluation.collector import SparseCollector
from recbole_cfgdiff.evaluation.reading import given_histories
from recbole_cfgdiff.files import errors_name
from recbole_cfgdiff.overlay import checkpoint
from recbole_cfgdiff.overlay.older_weights import ids_of
from recbole_cfgdiff.overlay.restoring import (
    check_progress,
    counters,
    load_counters,
    load_model_state,
    load_optimizers,
    other_parameter,
)


def get_trainer(config: Any) -> type:
    """RecBole's trainer class for the model, with our checkpoints."""
    trainer = recbole.utils.get_trainer(config["MODEL_TYPE"], config["model"])
    if config["MODEL_TYPE"] is ModelType.KNOWLEDGE:
        raise ConfigError(
            f"model {config['model']}: RecBole feeds knowledge-aware models by two loaders at once, whose state our "
            "checkpoints do not hold; they are not supported"
        )
    if not issubclass(trainer, Trainer):
        raise ConfigError(f"model {config['model']}: RecBole trains it by {trainer.__name__}, which is not supported")
    return type(trainer.__name__, (CheckpointTrainer, trainer), {})


class CheckpointTrainer(Trainer):
    """RecBole's ``Trainer``, and by ``get_trainer`` any of its subclasses, except that

    - a run has a folder of its own below ``checkpoint_dir``, so that parallel runs never collide. ``best.pth`` is
      the epoch with the best validation score; ``last.pth`` is written at each evaluation and holds all that training
      goes on from: weights, optimisers, random states, the loader's order, the best score so far;
    - ``resume_checkpoint(last.pth)`` continues in that folder as if there had been no break;
    - a model's ``before_training(train_data)``, if it has one, is called before the first epoch, unless one resumes;
    - a model's ``after_step()``, if it has one, is called after every step of the optimiser;
    - a loss that is not finite stops training, and the message names the epoch;
    - mixed precision on CUDA scales the loss, so that no gradient is lost;
    - Adam and AdamW update the weights in one pass over them (torch's ``fused``), with the same formula.

    RecBole 1.2.1 writes a checkpoint only on improvement, without random states, and as a pickle of objects, which
    torch >= 2.6 refuses to load.
    """

    def __init__(self, config: Any, model: torch.nn.Module) -> None:
        with replaced(recbole.trainer.trainer, get_tensorboard=_Scalars):
            super().__init__(config, model)
        self.eval_collector = SparseCollector(config)
        self._scale_small_gradients()
        after_step: Callable[[], None] | None = getattr(model, "after_step", None)
        if after_step is not None:
            self.optimizer.register_step_post_hook(lambda *_: after_step())
        self._set_run_dir(run_dir_of(config))
        self._epoch = 0
        self._resumed: dict[str, Any] | None = None
        self._train_data: Any = None
        self._latest_valid_result: dict[str, float] | None = None

    def _build_optimizer(self, **kwargs: Any) -> torch.optim.Optimizer:
        optimizer = super()._build_optimizer(**kwargs)
        if type(optimizer) not in (torch.optim.Adam, torch.optim.AdamW):
            return optimizer
        groups = [{name: group[name] for name in ("params", "lr", "weight_decay")} for group in optimizer.param_groups]
        return type(optimizer)(groups, fused=True)

    def _scale_small_gradients(self) -> None:
        """Mixed precision on CUDA is in float16, to which gradients of a mean over all items are too small unless the
        loss is scaled up; RecBole's ``enable_scaler`` is off by default."""
        self.enable_scaler |= self.enable_amp and self.device.type == "cuda"
        if self.enable_scaler and self.clip_grad_norm:
            raise ConfigError(
                "clip_grad_norm: RecBole clips gradients while they are scaled up, to next to nothing; give it without "
                "enable_amp and enable_scaler"
            )

    def _set_run_dir(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.saved_model_file = str(run_dir / checkpoint.BEST)

    def fit(
        self,
        train_data: Any,
        valid_data: Any = None,
        verbose: bool = True,
        saved: bool = True,
        show_progress: bool = False,
        callback_fn: Callable[[int, float], None] | None = None,
    ) -> tuple[float, dict[str, float] | None]:
        """Train, from where ``resume_checkpoint`` left off if it was called. Arguments and result as RecBole's."""
        self._train_data = train_data
        self._validates = self.eval_step > 0 and bool(valid_data)
        self._callback_fn = callback_fn
        if self._resumed is not None:
            checkpoint.restore_random_states(self._resumed["random_states"])
            train_data.generator.set_state(self._resumed["loader_generator"].cpu())
            if self.start_epoch >= self.epochs or self.cur_step > self.stopping_step:
                self.logger.info("This run had ended: nothing is left to train.")
                return self.best_valid_score, self.best_valid_result
        elif before_training := getattr(self.model, "before_training", None):
            before_training(train_data)

        def after_evaluation(epoch: int, valid_score: float) -> None:
            if saved:
                self._write(checkpoint.LAST, epoch, self.best_valid_result)
            if callback_fn is not None:
                callback_fn(epoch, valid_score)

        result = super().fit(train_data, valid_data, verbose, saved, show_progress, after_evaluation)
        self.tensorboard.close()  # which RecBole leaves to chance, and its last lines with it
        return result

    def _train_epoch(self, train_data: Any, epoch_idx: int, *args: Any, **kwargs: Any) -> Any:
        self._epoch = epoch_idx
        return super()._train_epoch(train_data, epoch_idx, *args, **kwargs)

    def _valid_epoch(self, *args: Any, **kwargs: Any) -> tuple[float, dict[str, float]]:
        score, self._latest_valid_result = super()._valid_epoch(*args, **kwargs)
        return score, self._latest_valid_result

    def _check_nan(self, loss: torch.Tensor) -> None:
        if not torch.isfinite(loss):
            kept = f"; the best checkpoint so far is {self.saved_model_file}" if self.best_checkpoint_exists() else ""
            raise TrainingError(
                f"epoch {self._epoch}: the training loss is {loss.item()}; try a lower learning_rate{kept}"
            )

    def best_checkpoint_exists(self) -> bool:
        """Whether this run has written a ``best.pth``."""
        return Path(self.saved_model_file).is_file()

    def _save_checkpoint(self, epoch: int, verbose: bool = True, **kwargs: Any) -> None:
        """RecBole calls this when an epoch is the best so far, and after every epoch if nothing is validated."""
        self._write(checkpoint.BEST, epoch, self._latest_valid_result)
        if not self._validates:
            self._write(checkpoint.LAST, epoch, None)
            if self._callback_fn is not None:
                self._callback_fn(epoch, float("nan"))
        if verbose:
            self.logger.info(f"Saving current: {self.saved_model_file}")

    def save_pretrained_model(self, epoch: int, saved_model_file: str) -> None:
        """What RecBole's two-stage trainers (RaCT, S3Rec) call between the stages, in our format."""
        self._write(checkpoint.BEST, epoch, None)
        checkpoint.save(self._state(epoch, None), Path(saved_model_file))

    def _write(self, name: str, epoch: int, best_valid_result: dict[str, float] | None) -> None:
        if self.config["local_rank"] == 0:
            self.run_dir.mkdir(parents=True, exist_ok=True)
            checkpoint.save(self._state(epoch, best_valid_result), self.run_dir / name)
        if not self.config["single_spec"]:
            torch.distributed.barrier()  # the other processes read it

    def _state(self, epoch: int, best_valid_result: dict[str, float] | None) -> dict[str, Any]:
        return {
            "model": self.config["model"],
            "dataset": self.config["dataset"],
            "options": self.config.options,
            "ids": ids_of(self.model, self._train_data._dataset),
            "epoch": epoch,
            "cur_step": self.cur_step,
            "best_valid_score": self.best_valid_score,
            "best_valid_result": best_valid_result,
            "state_dict": self.model.state_dict(),
            "other_parameter": other_parameter(self.model),
            "counters": counters(self.model),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self._optimizers().items()},
            "random_states": checkpoint.random_states(),
            "loader_generator": self._train_data.generator.get_state(),
        }

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """By attribute name; of two names for one optimiser (RecVAE's trainer swaps them) the more specific."""
        found = {name: value for name, value in vars(self).items() if isinstance(value, torch.optim.Optimizer)}
        if any(value is found["optimizer"] for name, value in found.items() if name != "optimizer"):
            del found["optimizer"]
        return found

    def resume_checkpoint(self, resume_file: str | Path) -> None:
        """Go on from a ``last.pth``; the best epoch so far is the ``best.pth`` beside it.

        Raises:
            ConfigError: if either is missing, damaged or not one of ours, or if the model's shape differs.
        """
        path = Path(resume_file)
        state = checkpoint.load(path, self.device)
        learner = state["options"].get("learner")
        if learner != self.learner:
            raise ConfigError(f"learner: the run was trained by {learner}, whose state does not fit {self.learner}")
        self._set_run_dir(path.parent)
        if not self.best_checkpoint_exists():
            raise ConfigError(f"checkpoint {path}: expected {self.saved_model_file} beside it")
        # The end of training would be late to learn that the best one is damaged.
        load_model_state(self.model, checkpoint.load(self.saved_model_file, self.device), self.saved_model_file)
        load_model_state(self.model, state, path)
        load_counters(self.model, state["counters"], path)
        load_optimizers(self._optimizers(), state["optimizers"], path)
        check_progress(state, path)
        self.start_epoch = state["epoch"] + 1
        self.cur_step = state["cur_step"]
        self.best_valid_score = state["best_valid_score"]
        self.best_valid_result = state["best_valid_result"]
        self._resumed = state
        if state["options"].get("log_wandb") and not self.config["log_wandb"]:
            self.logger.info("This run was logged by wandb; --log_wandb=True goes on with that.")
        self.logger.info(f"Resuming {path.parent} after epoch {state['epoch']}.")

    @torch.no_grad()
    def evaluate(
        self,
        eval_data: Any,
        load_best_model: bool = True,
        model_file: str | Path | None = None,
        show_progress: bool = False,
    ) -> dict[str, float]:
        """RecBole's evaluation, of the best checkpoint if ``load_best_model``. Arguments and result as RecBole's."""
        if load_best_model and eval_data:
            path = Path(model_file or self.saved_model_file)
            load_model_state(self.model, checkpoint.load(path, self.device), path)
            self.logger.info(f"Loading model structure and parameters from {path}")
        with getattr(self.model, "fixed_weights", nullcontext)(), given_histories(self.model, eval_data):
            return super().evaluate(eval_data, load_best_model=False, show_progress=show_progress)


class _Scalars:
    """What RecBole calls of a TensorBoard writer, which is made when there is something to write: RecBole 1.2.1 makes
    one with each trainer, and a folder with it, also to load a model.

    Errors, which a thread of the writer's meets and tells at the next call, name its folder.
    """

    def __init__(self, logger: Any) -> None:
        self._logger, self._folder = logger, Path("log_tensorboard")
        self._writer: Any = None

    def open(self) -> None:
        """Make it now, so that what can't be written is told before anything is trained."""
        with errors_name(self._folder):
            self._writer = get_tensorboard(self._logger)
        self._folder = Path(self._writer.log_dir)

    def _write(self, what: str, *arguments: Any) -> None:
        if self._writer is None:
            self.open()
        with errors_name(self._folder):
            getattr(self._writer, what)(*arguments)

    def add_scalar(self, *arguments: Any) -> None:
        self._write("add_scalar", *arguments)

    def add_hparams(self, *arguments: Any) -> None:
        self._write("add_hparams", *arguments)

    def close(self) -> None:
        if self._writer is not None:
            self._write("close")


def run_dir_of(config: Any) -> Path:
    """The folder of the run: the one that it resumes, or one below ``checkpoint_dir``, whose name is made up and kept
    as ``run_name`` if none is given."""
    if config["resume"]:
        return checkpoint.find(config["resume"], checkpoint.LAST).parent
    if not config["run_name"]:
        config["run_name"] = _make_run_name(config)
    return Path(config["checkpoint_dir"]) / str(config["run_name"])


def _make_run_name(config: Any) -> str:
    """A name for a run's folder that no other run has."""
    started = datetime.now().strftime("%Y%m%d-%H%M%S")
    return f"{config['model']}-{config['dataset']}-{started}-{secrets.token_hex(3)}"
