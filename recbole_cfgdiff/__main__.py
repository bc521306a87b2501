"""``python -m recbole_cfgdiff``."""

import sys

from recbole_cfgdiff.commands.start import start

if __name__ == "__main__":
    sys.exit(start("main"))
