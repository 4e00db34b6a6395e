"""Where the suite's own files stand: at the top level of a checkout, under share/ of an installation."""

import os
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent
PROJECT = PACKAGE.parent
CHECKOUT = (PROJECT / "pyproject.toml").exists()

_SHARE = Path(sys.prefix) / "share" / "tada"
# TADA_CONFIG names another folder of models.yaml and recipes/, for a study of one's own.
CONFIG = Path(os.environ.get("TADA_CONFIG") or (PROJECT / "config" if CHECKOUT else _SHARE / "config"))
SCHEMAS = PROJECT / "workflow" / "schemas" if CHECKOUT else _SHARE / "schemas"
