"""Tasks of jobs that are queued while the code is updated."""

import pickle

import tada.job
from tada.cluster.worker import Task


def test_a_task_that_was_queued_before_schedulers_were_noted_is_slurms():
    assert tada.job.Task is Task
    queued = object.__new__(Task)
    queued.__dict__.update(arguments={"seed": 0}, working_folder="folder", signal_seconds=120)
    written = pickle.dumps(queued, protocol=0)  # names of modules as lines of text
    assert b"tada.cluster.worker" in written
    task = pickle.loads(written.replace(b"tada.cluster.worker", b"tada.job"))
    assert task == Task({"seed": 0}, "folder", 120, "slurm")
