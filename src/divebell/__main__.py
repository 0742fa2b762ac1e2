"""`python -m divebell`: the command line."""

import sys

from divebell.cli import main

sys.exit(main())
