"""Train and test a model: ``python run_recbole_cfg.py --model=CFGDiffRec --dataset=ml-100k [--key=value ...]``."""

import sys

from recbole_cfgdiff.commands.start import start

if __name__ == "__main__":
    sys.exit(start("run_main"))
