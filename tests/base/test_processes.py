"""What processes are given to start and to train quickly; batches that others prepare, where these are played."""

import errno
import gc
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tada.base import TadaError, processes
from tada.base.processes import COLLECTED_OBJECTS, collect_rarely, loader_fault, prepared_batches, watched
from tada.cluster.worker import run_processes

KILLED = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
NO_MEMORY = {
    "of a worker": RuntimeError(
        "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File ...\n"
        "RuntimeError: unable to allocate shared memory(shm) for file </torch_7_1>: No space left on device (28)"
    ),
    "of a worker that writes": RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible"),
    "of this process": OSError(errno.ENOSPC, "No space left on device"),
}


@pytest.fixture
def thresholds():
    """Leaves the collector of the tests' process as it is."""
    before = gc.get_threshold()
    yield before
    gc.set_threshold(*before)


def test_a_command_looks_for_garbage_less_often(thresholds):
    gc.set_threshold(700, 10, 10)
    collect_rarely()
    assert gc.get_threshold() == (COLLECTED_OBJECTS, 10, 10)


@pytest.mark.parametrize("by_user", [None, "131072"])
def test_a_training_process_keeps_freed_memory_unless_the_user_says_otherwise(tmp_path: Path, monkeypatch, by_user):
    name = "MALLOC_TRIM_THRESHOLD_"
    monkeypatch.delenv(name, raising=False)
    if by_user:
        monkeypatch.setenv(name, by_user)
    file = tmp_path / "environment.json"
    write = f"import json, os; json.dump(dict(os.environ), open({str(file)!r}, 'w'))"
    assert run_processes([sys.executable, "-S", "-c", write], 1, []) == [0]
    assert json.loads(file.read_text())[name] == (by_user or str(2**30))


def loader(errors, places=(3,)):
    """Counts to 6; raises the next error at a place, as long as there are workers."""
    left = list(errors)

    def make(done, workers):
        for number in range(done, 6):
            if workers and left and number in places:
                raise left.pop(0)
            yield number

    return make


def test_others_go_on_at_the_same_batch_where_one_has_died(shared):
    shared(2**30)
    said = []
    assert list(prepared_batches(loader([KILLED, KILLED]), 2, "data", said.append)) == [0, 1, 2, 3, 4, 5]
    assert len(said) == 2 and "was ended" in said[0] and "lower data.workers" in said[0] and "2 new ones" in said[0]
    with pytest.raises(TadaError, match="one of 2 processes that prepare clips was ended"):
        list(prepared_batches(loader([KILLED] * 3), 2, "data", said.append))


def test_a_death_in_the_middle_of_a_step_is_told_when_the_next_batch_is_asked_for(shared):
    """torch would raise here, between two lines of a training step."""
    shared(2**30)
    said, found = [], []

    def make(done, workers):
        rest = torch.utils.data.Subset(range(8), range(done, 8))
        return torch.utils.data.DataLoader(rest, batch_size=None, num_workers=workers)

    for number in prepared_batches(make, 2, "data", said.append):
        found.append(number)
        if number == 2:
            for child in multiprocessing.active_children():
                child.kill()
            time.sleep(0.5)  # a step, in which the signal arrives
            assert not said
    assert found == list(range(8))
    assert said and all("2 new ones go on" in line for line in said)
    assert not hasattr(signal.getsignal(signal.SIGCHLD), "tell"), "torch's handler is not back"


@pytest.fixture
def torch_handler():
    """torch's own signal handler, played: each signal tells of one death."""

    def handler(number, frame):
        raise KILLED

    before = signal.signal(signal.SIGCHLD, handler)
    yield handler
    signal.signal(signal.SIGCHLD, before)


@pytest.mark.parametrize("error", [EOFError(), ConnectionResetError(errno.ECONNRESET, "by peer")])
def test_a_connection_that_breaks_before_the_death_is_told_is_that_death(error, shared, torch_handler):
    shared(2**30)
    said = []

    def make(done, workers):
        for number in range(done, 6):
            if workers and number == 3 and not said:
                threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGCHLD)).start()
                raise error
            yield number

    assert list(prepared_batches(make, 2, "data", said.append)) == [0, 1, 2, 3, 4, 5]
    (line,) = said
    assert "one of 2 processes that prepare clips was ended" in line


@pytest.mark.parametrize("ends", [False, True])
def test_a_loader_that_is_done_with_is_shut_down_and_its_deaths_are_not_heard(ends, shared, torch_handler):
    """An error that somebody keeps would keep its loader, whose other workers' ends torch tells anywhere."""
    shared(2**30)
    shut = []

    class Loader:
        def __init__(self):
            self.left = [0, 1]

        def __iter__(self):
            return self

        def __next__(self):
            if self.left:
                return self.left.pop(0)
            raise StopIteration if ends else RuntimeError("shapes differ")

        def _shutdown_workers(self):
            os.kill(os.getpid(), signal.SIGCHLD)
            shut.append(True)

    batches = prepared_batches(lambda done, workers: Loader(), 2, "data", print)
    if ends:
        assert list(batches) == [0, 1]
    else:
        with pytest.raises(RuntimeError, match="shapes differ"):
            list(batches)
    assert shut and signal.getsignal(signal.SIGCHLD) is torch_handler


@pytest.fixture
def shared(monkeypatch):
    """Sets how many bytes of shared memory are free; what was refused to other tests is forgotten."""
    monkeypatch.setattr(processes, "_refused", [])
    return lambda free: monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=free, f_frsize=1))


def test_hardly_any_shared_memory_is_not_even_tried(shared):
    shared(2**16)
    said = []
    for _ in range(2):
        found = list(prepared_batches(lambda done, workers: [done, workers], 2, "data", said.append))
        assert found == [0, 0]  # of no workers
    (line,) = said
    assert "/dev/shm is too small for 2 processes" in line


@pytest.mark.parametrize("where", NO_MEMORY)
def test_without_shared_memory_this_process_prepares_the_rest(where, shared):
    shared(2**30)
    said = []
    assert list(prepared_batches(loader([NO_MEMORY[where]] * 9), 2, "data", said.append)) == [0, 1, 2, 3, 4, 5]
    (line,) = said
    assert "/dev/shm is too small for 2 processes" in line and "data.workers" in line and "Traceback" not in line
    with pytest.raises(TadaError, match=r"/dev/shm is too small for 2 processes .* lower clips\.workers"):
        list(watched(loader([NO_MEMORY[where]])(0, 2), 2, "clips"))


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), OSError(errno.EIO, "a disk"), OSError("worker: no")])
def test_other_errors_stay_what_they_are(error, shared):
    shared(2**30)
    assert loader_fault(error, 2, "data") is None
    with pytest.raises(type(error)) as raised:
        list(prepared_batches(loader([error]), 2, "data", print))
    assert raised.value is error
