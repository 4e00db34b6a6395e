"""The `tada` command, also as `python -m tada`: `tada.cli`, or one line that says what it lacks here."""

import sys

from tada.base import TadaError, require_posix
from tada.base.processes import collect_rarely


def main() -> None:
    """Run the command that the arguments name.

    Raises:
        SystemExit: on Windows, or where the package is installed without its extra `suite`.
    """
    try:
        require_posix()
        collect_rarely()
        from tada.cli import app

        app()
    except TadaError as error:
        sys.exit(f"Error: {error}")
    except ModuleNotFoundError as error:
        package = (error.name or "tada").partition(".")[0]
        if package == "tada":
            raise
        sys.exit(
            f"Error: the command tada needs the package {package}, which is not installed; "
            "pip install 'tada-reproducibility[suite]' adds all that tables and training need"
        )


if __name__ == "__main__":
    main()
