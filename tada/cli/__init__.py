"""`tada ...`: thin commands over the modules; Snakemake calls them, and so may anybody by hand.

Commands import what they need when they are called, so that `tada --help` answers at once.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tada.base import TadaError
from tada.base.files import disk_error, obstacle
from tada.base.provenance import version_and_commit
from tada.cli import own, reports, runs
from tada.report.paper import about_paper


class _CleanErrors(TyperGroup):
    """Errors of the user's input end with their message alone; anything else keeps its traceback."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for argument in args:
            try:
                argument.encode()
            except UnicodeEncodeError:  # what it names could stand in no record, page or log
                raise typer.BadParameter(f"{argument!r}: no UTF-8; rename that file or folder") from None
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except TadaError as error:
            print(f"Error: {error}", file=sys.stderr)
            raise SystemExit(1) from None
        except OSError as error:
            path = Path(error.filename2 or error.filename or ".")  # of a copy: to, from
            refusal = str(disk_error(error, path) or "")
            if not refusal and isinstance(error, (FileExistsError, NotADirectoryError)):
                refusal = obstacle(path)  # as where --out names a folder below a file
            if not refusal:
                raise
            print(f"Error: {refusal}", file=sys.stderr)
            raise SystemExit(1) from None


def _version(wanted: bool) -> None:
    if wanted:
        print(f"tada-reproducibility {version_and_commit()}")
        raise typer.Exit


app = typer.Typer(
    cls=_CleanErrors,
    help=f'Reproduces the tables and figures of "{about_paper().title}".',
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the suite's version and commit.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """What comes before any command."""


app.command("list")(reports.list_targets)
app.command("import")(reports.import_runs)
for command in (
    runs.init,
    *(runs.render, runs.check_data, runs.prepare, runs.run, runs.complexity),
    *(reports.table, reports.audit, reports.claims, reports.settings, reports.overview, reports.figure),
    *(runs.status, runs.verify, runs.plan, runs.cancel, runs.logs),
    runs.evaluate_detections,
    *(own.predict, own.features, own.export),
    *(reports.snapshot, reports.publish, reports.compare, reports.readme, reports.cite),
):
    app.command()(command)
