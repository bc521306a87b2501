"""``python -m recbole_cfgdiff``."""

import sys

from recbole_cfgdiff.cli import main

if __name__ == "__main__":
    sys.exit(main())
