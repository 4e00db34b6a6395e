"""What processes are given to start and to train quickly."""

import gc
import json
import sys
from pathlib import Path

import pytest

from tada.base.processes import COLLECTED_OBJECTS, collect_rarely
from tada.cluster.worker import run_processes


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
