"""``python -m emrdiff_geo``: the command line."""

import sys

from .cli import main

# Workers of a data loader import this module anew, under another name.
if __name__ == "__main__":
    sys.exit(main())
