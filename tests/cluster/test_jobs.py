"""What a run asks of clusters of different sizes, its batch the recipe's everywhere; and the record of its job."""

from dataclasses import replace
from pathlib import Path

import pytest

from tada.base import TadaError
from tada.base.files import PROJECT
from tada.cluster.jobs import ClusterSettings, JobRecord, allocate, fitting_processes, load_cluster, read_job, write_job
from tada.runs.recipes import load_recipe
from tada.runs.run import Run

RECIPE = load_recipe("paper", "ssv2", "tsn", PROJECT / "config")


@pytest.mark.parametrize(
    ("settings", "nodes", "per_node"),
    [
        (ClusterSettings(), 2, 8),
        (ClusterSettings(gpus=16, gpus_per_node=4), 4, 4),
        (ClusterSettings(gpus=8), 1, 8),
        (ClusterSettings(gpus=6), 1, 4),
        (ClusterSettings(gpus=12, gpus_per_node=3), 4, 2),
        (ClusterSettings(gpus=1), 1, 1),
    ],
)
def test_processes_share_the_batch_evenly(settings, nodes, per_node):
    found = allocate(RECIPE, settings)
    assert (found.nodes, found.processes_per_node, found.gpus_per_process) == (nodes, per_node, 1)
    groups = RECIPE.train.batch // RECIPE.train.batch_per_device
    assert groups % found.processes == 0 and found.gpus == found.processes


def test_fewer_gpus_get_more_time_up_to_the_partitions_limit():
    hours = RECIPE.resources.hours
    assert allocate(RECIPE, ClusterSettings(hours=1000)).minutes == 2 * hours * 60
    assert allocate(RECIPE, ClusterSettings(hours=1000, gpus=4)).minutes == 4 * 2 * hours * 60
    assert allocate(RECIPE, ClusterSettings(hours=3, gpus=4)).minutes == 180


def test_runs_without_gpus():
    mini = replace(RECIPE, resources=replace(RECIPE.resources, gpus=0))
    for recipe, settings in ((mini, ClusterSettings(processes=2)), (RECIPE, ClusterSettings(gpus=0, processes=2))):
        found = allocate(recipe, settings)
        assert (found.nodes, found.processes_per_node, found.gpus) == (1, 2, 0)


def test_memory_and_processors_of_the_settings_count_more_than_the_recipes():
    found = allocate(RECIPE, ClusterSettings(cpus_per_process=3, memory_gb_per_process=20))
    assert (found.cpus_per_process, found.memory_gb_per_process) == (3, 20)


def test_most_processes_that_divide_the_groups():
    recipe = replace(RECIPE, train=replace(RECIPE.train, batch=24, batch_per_device=4))
    assert [fitting_processes(recipe, most) for most in (0, 1, 2, 3, 4, 5, 6, 7, 100)] == [1, 1, 2, 3, 3, 3, 6, 6, 6]


def test_the_profiles_settings_are_valid_and_a_typo_is_named(tmp_path: Path):
    assert load_cluster(PROJECT / "profiles/slurm/cluster.yaml").gpus == 16
    (tmp_path / "cluster.yaml").write_text("partiton: gpu\n")
    with pytest.raises(TadaError, match="unknown key 'partiton'; did you mean 'partition'"):
        load_cluster(tmp_path / "cluster.yaml")


@pytest.mark.parametrize("scheduler", ["slurm", "local"])
def test_a_record_is_read_as_it_was_written(scheduler, tmp_path):
    run = Run("mini", "ssv2", "tsn", 0, tmp_path)
    write_job(run, JobRecord("7", "name", "abc", 2, scheduler))
    assert read_job(run) == JobRecord("7", "name", "abc", 2, scheduler)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"id": "7"}', '{"id": 7, "name": "n"}'])
def test_a_damaged_record_is_none(content, tmp_path):
    run = Run("mini", "ssv2", "tsn", 0, tmp_path)
    assert read_job(run) is None
    run.folder.mkdir(parents=True)
    run.file("job.json").write_text(content)
    assert read_job(run) is None
