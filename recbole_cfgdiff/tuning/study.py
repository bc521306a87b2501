"""A search on disk: what Optuna suggested and what came of it."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from recbole_cfgdiff.errors import ConfigError
from recbole_cfgdiff.escape import one_line
from recbole_cfgdiff.files import errors_name
from recbole_cfgdiff.tuning.algorithms import Combinations, distributions, make_sampler
from recbole_cfgdiff.tuning.space import Range, plain_value
from recbole_cfgdiff.tuning.trials import TOLD

STUDY = "study.journal"
_NAME = "search"
_MOST_BYTES = 2**27
_NUMBERS = ("valid_score", "training_seconds", "epochs")
# Whatever Optuna meets in a file that is none of its own.
_DAMAGE = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


class Finished(NamedTuple):
    """A trial that is over, with what came of it, as of ``trials.outcome_of``."""

    number: int
    parameters: dict[str, Any]
    outcome: dict[str, Any]


class Study:
    """Suggests parameters, one trial after another or for several at a time, and takes what came of them.

    Everything is in Optuna's journal, lines of JSON; of a line that was cut off nothing is left. Every suggestion
    depends on nothing but the space, the seed, its number and the trials before it: a search that is continued goes on
    as one that was never interrupted. Of several at a time that holds as far as they end in the same order.

    Args:
        path: of the journal, which need not be there; in a folder in which no other process works.
        space: the parameters.
        algorithm: one of ``algorithms.ALGORITHMS``, which can search the space.
        seed: of the suggestions.
        bigger: whether more of the score is better.

    Attributes:
        finished: the trials that were over when the file was opened.
        begun: number and parameters of those that had begun, which ``next`` gives first.

    Raises:
        ConfigError: if the file is damaged, or another search's.
        OSError: if it can't be read or written.
    """

    def __init__(self, path: Path, space: dict[str, Range], algorithm: str, seed: int, bigger: bool) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._path, self._space, self._algorithm, self._seed = path, space, algorithm, seed
        self._distributions = distributions(space)
        self._combinations = Combinations(space, seed) if algorithm == "exhaustive" else None
        with errors_name(path):
            try:
                self._study = _open(path, StudyDirection.MAXIMIZE if bigger else StudyDirection.MINIMIZE)
                outcomes = self._check()
            except _DAMAGE as error:
                told = one_line(f"{type(error).__name__}: {error}")[:300]
                advice = "remove it to start the search from the beginning"
                raise ConfigError(f"{path}: damaged: {told}; {advice}") from error
            self._mend(outcomes)
        trials = [(number, self._parameters(trial)) for number, trial in self._numbered().items()]
        self.finished = [Finished(*trial, outcomes[trial[0]]) for trial in trials if trial[0] in outcomes]
        self.begun = [trial for trial in trials if trial[0] not in outcomes]

    def next(self) -> tuple[int, dict[str, Any]] | None:
        """Number, from 1, and parameters of the next trial, or None if every combination was suggested."""
        if self.begun:
            return self.begun.pop(0)
        number = len(self._numbered()) + 1
        with errors_name(self._path):
            if self._combinations is None:
                self._study.sampler = make_sampler(self._algorithm, self._seed, number)
                self._study.ask(self._distributions)
            elif number <= len(self._combinations):
                places = self._combinations.places(number)
                self._study.add_trial(
                    optuna.create_trial(state=TrialState.RUNNING, params=places, distributions=self._distributions)
                )
            else:
                return None
        return number, self._parameters(self._numbered()[number])

    def report(self, number: int, outcome: dict[str, Any]) -> None:
        """What came of a trial, as of ``trials.outcome_of``."""
        with errors_name(self._path):
            self._study.set_user_attr(str(number), outcome)
            self._tell(self._numbered()[number], outcome)

    def _tell(self, trial: FrozenTrial, outcome: dict[str, Any]) -> None:
        if outcome["status"] == "failed":
            self._study.tell(trial.number, state=TrialState.FAIL)
        else:
            self._study.tell(trial.number, outcome["valid_score"])

    def _numbered(self) -> dict[int, FrozenTrial]:
        """All trials but those that were interrupted before they had all their parameters."""
        trials = self._study.get_trials(deepcopy=False)
        return dict(enumerate((trial for trial in trials if len(trial.params) == len(self._space)), start=1))

    def _parameters(self, trial: FrozenTrial) -> dict[str, Any]:
        return {name: plain_value(parameter, trial.params[name]) for name, parameter in self._space.items()}

    def _check(self) -> dict[int, dict[str, Any]]:
        """Check that this search can have left what the file has; what came of its trials, by their number.

        Raises:
            ValueError: otherwise; or another of ``_DAMAGE``.
        """
        for trial in self._study.get_trials(deepcopy=False):
            _check_parameters(trial, self._distributions)
        outcomes = {int(number): outcome for number, outcome in self._study.user_attrs.items()}
        for number, trial in self._numbered().items():
            _check_outcome(trial, outcomes.get(number))
        if surplus := outcomes.keys() - self._numbered().keys():
            raise ValueError(f"no trials {surplus}")
        return outcomes

    def _mend(self, outcomes: dict[int, dict[str, Any]]) -> None:
        """Finish what was interrupted: the report of a trial, or a suggestion, which is then made anew."""
        for number, trial in self._numbered().items():
            if number in outcomes and trial.state == TrialState.RUNNING:
                self._tell(trial, outcomes[number])
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state == TrialState.RUNNING and len(trial.params) < len(self._space):
                self._study.tell(trial.number, state=TrialState.FAIL)


class _Locked(JournalFileSymlinkLock):
    """In place of a lock, which a process that is killed would leave behind: the folder has one already."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _open(path: Path, direction: StudyDirection) -> optuna.Study:
    """The study in a file, or a new one.

    Raises:
        ValueError: if the file is none of a search's; or another of ``_DAMAGE``.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise ValueError("expected a file")
    if path.exists() and path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"expected at most {_MOST_BYTES:,} bytes")
    storage = JournalStorage(JournalFileBackend(str(path), _Locked(str(path))))
    _cut_off_unfinished_line(path)
    names = optuna.get_all_study_names(storage)
    if not names:
        return optuna.create_study(study_name=_NAME, storage=storage, direction=direction)
    if names != [_NAME]:
        raise ValueError(f"expected one study, {_NAME}")
    study = optuna.load_study(study_name=_NAME, storage=storage)
    if study.directions != [direction]:
        raise ValueError(f"expected a study that is to {direction.name.lower()}")
    return study


def _cut_off_unfinished_line(path: Path) -> None:
    """What a full disk or a kill left of a line; Optuna would write the next behind it, and read neither."""
    content = path.read_bytes()
    if not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)


def _check_parameters(trial: FrozenTrial, expected: dict[str, Any]) -> None:
    """Check that a trial is of the search, as far as Optuna and ``Study`` read it.

    Raises:
        ValueError: otherwise; or another of ``_DAMAGE``.
    """
    if not trial.distributions.items() <= expected.items():
        raise ValueError(f"trial {trial.number} is of other parameters")
    if len(trial.params) < len(expected) and trial.state not in (TrialState.RUNNING, TrialState.FAIL):
        raise ValueError(f"trial {trial.number} lacks parameters")
    if not all(type(value) in (int, float) for value in trial.params.values()):
        raise ValueError(f"trial {trial.number} has parameters that are no numbers")
    optuna.create_trial(params=trial.params, distributions=trial.distributions, value=0.0)  # within their ranges
    if not all(name.startswith("tpe:relative_params:") for name in trial.system_attrs):
        raise ValueError(f"trial {trial.number} has unknown attributes")
    relative = json.loads("".join(trial.system_attrs.values()) or "{}")
    if len(trial.params) == len(expected) and not relative.items() <= trial.params.items():
        raise ValueError(f"trial {trial.number} has other parameters than were chosen")


def _check_outcome(trial: FrozenTrial, outcome: Any) -> None:
    """Check what came of a trial, None if nothing has.

    Raises:
        ValueError: if it does not fit the trial; or another of ``_DAMAGE``.
    """
    if outcome is None:
        fits = trial.state == TrialState.RUNNING
    elif set(outcome) != set(TOLD):
        fits = False
    elif outcome["status"] == "failed":
        is_told = isinstance(outcome["error"], str) and outcome["error"] == one_line(outcome["error"])
        fits = is_told and trial.state in (TrialState.RUNNING, TrialState.FAIL)
        fits = fits and all(outcome[name] is None or _is_finite(outcome[name]) for name in _NUMBERS)
    else:
        is_over = trial.state == TrialState.COMPLETE and trial.value == outcome["valid_score"]
        fits = outcome["status"] in ("ended", "stopped") and (is_over or trial.state == TrialState.RUNNING)
        fits = fits and all(_is_finite(outcome[name]) for name in _NUMBERS) and outcome["error"] is None
    if not fits:
        raise ValueError(f"trial {trial.number} has not come to {outcome}"[:200])


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
