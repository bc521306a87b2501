"""Which part of the package imports which: the contracts of pyproject.toml, and that they can fail."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("importlinter")
ROOT = Path(__file__).resolve().parents[1]


def lint(folder):
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()", "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env={"PYTHONPATH": str(folder)})


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(
        ROOT / "recbole_cfgdiff", tmp_path / "recbole_cfgdiff", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_each_layer_imports_only_those_below(copy):
    outcome = lint(copy)
    assert outcome.returncode == 0, outcome.stdout


@pytest.mark.parametrize(
    ("module", "upward"),
    [
        ("diffusion/schedule.py", "from recbole_cfgdiff.data import loading"),
        ("diffusion/samplers.py", "import recbole"),
        ("data/splits.py", "from recbole_cfgdiff.model import DiffRec"),
        ("model/diffrec.py", "from recbole_cfgdiff.overlay.config import Config"),
        ("overlay/trainer.py", "from recbole_cfgdiff.runs import spec"),
        ("runs/worker.py", "from recbole_cfgdiff.tuning import tune"),
        ("errors.py", "from recbole_cfgdiff.overlay import checkpoint"),
    ],
)
def test_an_upward_import_is_found(module, upward, copy):
    path = copy / "recbole_cfgdiff" / module
    path.write_text(f"{path.read_text()}\n{upward}\n")
    outcome = lint(copy)
    assert outcome.returncode == 1 and "BROKEN" in outcome.stdout


def test_a_folder_that_no_layer_names_is_found(copy):
    (copy / "recbole_cfgdiff" / "utils.py").write_text("")
    outcome = lint(copy)
    assert outcome.returncode == 1 and "utils" in outcome.stdout
