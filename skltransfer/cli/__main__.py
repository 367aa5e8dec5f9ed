"""Run the command line as ``python -m skltransfer.cli``."""

import sys

from skltransfer.cli import main

sys.exit(main())
