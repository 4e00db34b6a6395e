"""`tada list` against what `snakemake all` makes."""

import re

import targets
from typer.testing import CliRunner

from tada.base.files import PROJECT
from tada.cli import app


def test_every_target_has_one_line():
    listed = CliRunner().invoke(app, ["list"])
    assert listed.exit_code == 0
    names, texts = zip(*(line.split(maxsplit=1) for line in listed.output.splitlines()), strict=True)
    assert sorted(names) == sorted(targets.everything())
    assert all(": " in text for text in texts)


def test_targets_that_train_say_how_many_runs():
    """Those of the claims and of everything as Snakemake counts them in docs/tutorials/laptop.md."""
    lines = CliRunner().invoke(app, ["list"]).output.splitlines()
    counts = dict(re.findall(r"^(\S+) +(\d+) runs", "\n".join(lines), re.MULTILINE))
    page = (PROJECT / "docs/tutorials/laptop.md").read_text()
    for target, command in (("tables/claims.md", "tables/claims.md"), ("results/overview.html", "all")):
        [shown] = re.findall(rf"^\| `uv run snakemake {command}` \|.*\| (\d+) \|$", page, re.MULTILINE)
        assert counts[target] == shown
    assert counts["tables/table3b.md"] == "10" and counts["tables/table4.md"] == "4"
    assert not {"tables/table1.md", "tables/audit.md", "tables/complexity.md"} & set(counts)
