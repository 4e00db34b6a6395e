"""`tada list` against what `snakemake all` makes."""

import targets
from typer.testing import CliRunner

from tada.cli import app


def test_every_target_has_one_line():
    listed = CliRunner().invoke(app, ["list"])
    assert listed.exit_code == 0
    names, texts = zip(*(line.split(maxsplit=1) for line in listed.output.splitlines()), strict=True)
    assert sorted(names) == sorted(targets.everything())
    assert all(": " in text for text in texts)
