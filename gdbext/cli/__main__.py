"""`python3 -m gdbext.cli`: the program `ckpt`."""

import sys

from .program import main

sys.exit(main())
