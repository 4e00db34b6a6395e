"""Where the suite's own files stand: at the top level of a checkout, inside the package of an installation."""

from pathlib import Path

PACKAGE = Path(__file__).parent
PROJECT = PACKAGE.parent
_SHIPPED = PACKAGE / "_shipped"

CONFIG = _SHIPPED / "config" if _SHIPPED.exists() else PROJECT / "config"
SCHEMAS = _SHIPPED / "schemas" if _SHIPPED.exists() else PROJECT / "workflow" / "schemas"
