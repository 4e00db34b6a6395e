"""Where the suite's own files stand: at the top level of a checkout, under share/ of an installation."""

import sys
from pathlib import Path

PACKAGE = Path(__file__).parent
PROJECT = PACKAGE.parent
CHECKOUT = (PROJECT / "pyproject.toml").exists()

_SHARE = Path(sys.prefix) / "share" / "tada"
CONFIG = PROJECT / "config" if CHECKOUT else _SHARE / "config"
SCHEMAS = PROJECT / "workflow" / "schemas" if CHECKOUT else _SHARE / "schemas"
