"""RecBole on today's libraries, and where it is missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
RUN = """
from recbole_cfgdiff.commands.start import console
sys.argv = ["recbole-cfgdiff", "run", "--model=Pop"]
sys.exit(console())
"""
IMPORT = "import recbole_cfgdiff.overlay.config"
INSTALL = "python -m pip install --no-deps recbole==1.2.1"

# As in an environment that has all but RecBole.
HIDDEN = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name == "recbole" else find(name, *rest)
"""


def python(code: str, *path: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*path, CHECKOUT)))}
    return subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}"], env=environment, capture_output=True, text=True
    )


@pytest.fixture
def older_recbole(empty_folder):
    (empty_folder / "older" / "recbole").mkdir(parents=True)
    (empty_folder / "older" / "recbole" / "__init__.py").write_text("__version__ = '1.2.0'\n")
    (empty_folder / "older" / "recbole" / "utils.py").write_text("")
    return empty_folder / "older"


def test_the_command_without_recbole_says_how_to_install_it():
    outcome = python(HIDDEN + RUN)
    assert outcome.returncode == 2
    assert outcome.stderr == f"error: RecBole is missing: {INSTALL}\n"


@pytest.mark.parametrize(("option", "told"), [("--help", "COMMAND"), ("--version", "recbole-cfgdiff ")])
def test_the_list_of_commands_and_the_version_need_no_recbole(option, told):
    outcome = python(HIDDEN + RUN.replace('"run", "--model=Pop"', f'"{option}"'))
    assert outcome.returncode == 0 and told in outcome.stdout


def test_the_command_with_another_recbole_says_how_to_install_the_right_one(older_recbole):
    outcome = python(RUN, older_recbole)
    assert outcome.returncode == 2
    assert outcome.stderr == f"error: RecBole 1.2.0 is installed, this needs 1.2.1: {INSTALL}\n"


@pytest.mark.parametrize("kind", ["ImportError", "recbole_cfgdiff.errors.ConfigError"])
def test_from_python_the_same_is_an_import_error_and_a_config_error(kind):
    caught = f"import recbole_cfgdiff.errors\ntry:\n    {IMPORT}\nexcept {kind} as error:\n    print(error)"
    assert python(HIDDEN + caught).stdout == f"RecBole is missing: {INSTALL}\n"


def test_diffusion_needs_no_recbole():
    assert python(HIDDEN + "import recbole_cfgdiff.diffusion.process").returncode == 0


def test_importing_the_package_is_cheap():
    code = "import recbole_cfgdiff; print({'numpy', 'scipy', 'torch', 'recbole'} & sys.modules.keys())"
    assert python(code).stdout == "set()\n"


NO_RAY = "sys.modules['ray'] = None\n"  # import ray: ModuleNotFoundError


def test_recboles_own_quick_start_works_without_ray(empty_folder):
    run = "print(run_recbole('Pop', 'ml-100k', config_dict={'epochs': 1}, saved=False)['best_valid_score'] > 0)"
    outcome = python(f"{NO_RAY}import recbole_cfgdiff\nfrom recbole.quick_start import run_recbole\n{run}")
    assert outcome.stdout.splitlines()[-1:] == ["True"], outcome.stderr


def test_no_one_takes_ray_for_installed():
    code = f"""{NO_RAY}
import recbole_cfgdiff, recbole.quick_start
try:
    import ray
except ImportError:
    print("no ray")
try:
    recbole.quick_start.quick_start.tune.report(1)
except ImportError as error:
    print(error)
"""
    assert python(code).stdout == ("no ray\nRay Tune can't be imported: python -m pip install 'recbole-cfgdiff[ray]'\n")


def test_where_there_is_ray_recbole_gets_it():
    pytest.importorskip("ray.tune")
    code = "import recbole_cfgdiff, recbole.quick_start, ray\nprint(recbole.quick_start.quick_start.tune is ray.tune)"
    assert python(code).stdout == "True\n"


def test_shims_are_set_where_recbole_was_imported_first():
    code = "import recbole.utils, recbole_cfgdiff, numpy as np, scipy.sparse as sparse\n"
    code += "matrix = sparse.dok_matrix((2, 2)); matrix._update({(0, 1): 3.0}); print(matrix.sum(), np.float_(2))"
    assert python(code).stdout == "3.0 2.0\n"
