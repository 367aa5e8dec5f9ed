"""Run the command line as ``python -m skltransfer``."""

import sys

from skltransfer.cli import main

sys.exit(main())
