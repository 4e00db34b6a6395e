"""Tables whose rows are jobs of a real SLURM, as a user asks for them: snakemake with a cluster's profile."""

import os
import shutil
import signal
from pathlib import Path

import pytest
import yaml
from background import assert_same_numbers, read, training_process, wait_until

from tada.base.files import PROJECT

COPIED = ["pyproject.toml", "environment.yml"]
COPIED += ["tada", "workflow", "config", "profiles", "paper"]
RUNS = Path("results/mini/ssv2")
SIX = ("tsn", "tsn+avg", "tsn+avg-sc", "tsn+tada", "tada2d", "tada2d-max")


@pytest.fixture
def project(tmp_path, tiny_ssv2, slurm):
    """Makes a fresh checkout with the recipes of a config folder, a table `small`, and a profile of this cluster."""

    def make(name: str, config: Path, models: tuple[str, ...] = ()) -> Path:
        root = tmp_path / name
        root.mkdir()
        for part in COPIED:
            source, ignored = (
                PROJECT / part,
                shutil.ignore_patterns("__pycache__", "*.md", "*.tex", "*.csv", "*.[sp]*g"),
            )
            shutil.copytree(source, root / part, ignore=ignored) if source.is_dir() else shutil.copy(source, root)
        shutil.copy(config / "recipes/mini.yaml", root / "config/recipes")
        shutil.copytree(tiny_ssv2, root / "data/mini/ssv2")
        (root / "data/mini/ssv2/manifest.json").write_text("{}")
        table = {
            "title": "Table T",
            "caption": "Some rows.",
            "place": "A test",
            "columns": {"top1": {"header": "Top-1", "metric": "top1", "dataset": "ssv2"}},
            "rows": [{"model": model, "cells": {"top1": "50.0"}} for model in models],
        }
        if models:
            (root / "paper/tables/small.yaml").write_text(yaml.safe_dump(table, sort_keys=False))
        settings = root / "profiles/slurm/cluster.yaml"
        changes = {"gpus_per_node": 1, "cpus_per_process": 1, "memory_gb_per_process": 1}
        settings.write_text(yaml.safe_dump({**yaml.safe_load(settings.read_text()), **changes}))
        return root

    return make


@pytest.fixture
def snakemake(start):
    def run(root: Path, target: str, *options: str):
        return start(root, "snakemake", *options, "--", target, config=root / "config", path=root)

    return run


PROFILE = ("--workflow-profile", "profiles/slurm", "--resources", "queued=2", "here=4")


def done(root: Path) -> list[Path]:
    return list((root / RUNS).rglob("metrics.json"))


def active(slurm) -> list[str]:
    return [job for job, state in slurm.jobs().items() if state in ("PENDING", "RUNNING")]


def test_a_table_through_the_cluster_has_the_numbers_of_one_made_here(project, snakemake, slurm, short_config):
    here, cluster = (project(name, short_config, SIX) for name in ("here", "cluster"))
    first = snakemake(cluster, "tables/small.md", *PROFILE)
    most = 0

    def half() -> bool:
        nonlocal most
        most = max(most, len(active(slurm)))
        return len(done(cluster)) >= 3 and len(active(slurm)) == 2

    first.until(half, 240)
    first.kill()
    assert len(active(slurm)) >= 1
    second = snakemake(cluster, "tables/small.md", *PROFILE)
    assert second.wait(240) == 0, second.output
    local = snakemake(here, "tables/small.md")
    assert len(slurm.jobs()) == len(SIX)
    assert 2 <= most <= 3  # two, and one that has written its results but not yet left
    assert "attached to job" in second.output or "finished before" in second.output
    table = (cluster / "tables/small.md").read_text()
    assert "pending" not in table and "failed" not in table
    assert local.wait(240) == 0, local.output
    for model in SIX:
        assert_same_numbers(cluster / RUNS / model / "seed0", here / RUNS / model / "seed0")


def test_a_killed_and_a_cancelled_row_are_cells_and_the_next_call_repairs_them(
    project, snakemake, slurm, long_config, undisturbed, start
):
    root = project("project", long_config, ("tsn", "tada2d", "tsn+avg"))
    first = snakemake(root, "tables/small.md", "--workflow-profile", "profiles/slurm")
    killed, cancelled = root / RUNS / "tsn/seed0", root / RUNS / "tada2d/seed0"
    first.until((killed / "checkpoint.pt").exists)
    os.kill(training_process(killed), signal.SIGKILL)
    first.until((cancelled / "job.json").exists)
    job = read(cancelled, "job.json")["id"]
    cancel = start(root, "tada", "cancel", "ssv2/tada2d", config=root / "config")
    status = start(root, "tada", "status", config=root / "config")
    assert cancel.wait(30) == 0 and f"cancelled job {job}" in cancel.output
    assert status.wait(30) == 0 and "3 runs: " in status.output and "running" in status.output
    for folder in (killed, cancelled):
        wait_until((folder / "outcome.json").exists, 60)
        assert read(folder, "outcome.json")["status"] == "failed"
    assert first.wait(120) == 1, first.output
    assert [file.parent.parent.name for file in done(root)] == ["tsn+avg"]
    table = (root / "tables/small.md").read_text()
    assert "tsn/seed0/log.txt" in table and "tada2d/seed0/log.txt" in table
    error = read(killed, "outcome.json")["error"]
    assert "failed" in table and error in first.output and error in (killed / "log.txt").read_text()
    assert "job" in error and "cancelled" in read(cancelled, "outcome.json")["error"]
    assert "[ssv2/tsn seed 0] epoch" in first.output  # the end of what the killed job printed
    second = snakemake(root, "tables/small.md", "--profile", "profiles/slurm")
    assert second.wait(180) == 0, second.output
    assert "failed" not in (root / "tables/small.md").read_text() and len(slurm.jobs()) == 5
    assert read(killed, "metrics.json")["cost"]["resumes"] == 1
    assert_same_numbers(killed, undisturbed(long_config))
