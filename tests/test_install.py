"""The wheel carries all that a run needs."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]


def test_the_wheel_works_in_an_empty_folder(empty_folder):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", "wheels"]
    copy = empty_folder / "copy"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, tracked.split("\0")):
        if (CHECKOUT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((CHECKOUT / name).read_bytes())
    subprocess.run([*build, str(copy)], check=True)
    installed = empty_folder / "installed"
    with zipfile.ZipFile(next(Path("wheels").glob("*.whl"))) as wheel:
        wheel.extractall(installed)
    elsewhere = empty_folder / "elsewhere"
    elsewhere.mkdir()
    command = [sys.executable, "-m", "recbole_cfgdiff", "run", "--model=CFGDiffRec", "--dataset=ml-100k", "--epochs=1"]
    where = "import recbole_cfgdiff.properties as p; print(p.PROPERTIES)"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    used = subprocess.run([sys.executable, "-c", where], cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert used.stdout.strip() == str(installed / "recbole_cfgdiff" / "_properties")
    outcome = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
    assert "ndcg@10" in outcome.stdout
    compare = [sys.executable, "-m", "recbole_cfgdiff", "compare", "--models=Pop", "--dataset=ml-100k", "--seeds=1"]
    subprocess.run([*compare, "--output=out"], cwd=elsewhere, env=environment, capture_output=True, check=True)
    assert "<h1>Comparison on ml-100k</h1>" in (elsewhere / "out" / "report.html").read_text(encoding="utf-8")
    properties = installed / "recbole_cfgdiff" / "_properties"
    assert (properties / "paper" / "table2.csv").is_file() and (properties / "hyper" / "EASE.hyper").is_file()
