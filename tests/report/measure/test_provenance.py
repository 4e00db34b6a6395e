"""Lines on the code, hardware and time behind results."""

from dataclasses import replace

import pytest
from planting import COST, plant_record

from tada.base.provenance import Environment, Hardware
from tada.report.measure import results


def environment(commit, dirty=False):
    return Environment(commit, dirty, "3", {}, Hardware("Z80", 1, ["H100", "H100"]))


def code_line(environments, monkeypatch, current):
    monkeypatch.setattr(results, "git_state", lambda: (current, False))
    return dict(results.about_code(environments))["Code"]


def test_results_of_this_commit(monkeypatch):
    assert code_line([environment("a" * 40)], monkeypatch, "a" * 40) == "commit aaaaaaaaaa"
    line = code_line([environment("a" * 40, dirty=True)], monkeypatch, "a" * 40)
    assert line == "commit aaaaaaaaaa with uncommitted changes"


def test_results_of_older_and_several_commits_say_so(monkeypatch):
    line = code_line([environment("a" * 40)], monkeypatch, "b" * 40)
    assert line == "commit aaaaaaaaaa; the code is at commit bbbbbbbbbb now"
    line = code_line([environment("a" * 40)] * 2 + [environment("b" * 40)], monkeypatch, "b" * 40)
    assert "several states of the code: commit aaaaaaaaaa (2 results), commit bbbbbbbbbb (1 result)" in line


def test_hardware_counts_gpus():
    assert dict(results.about_code([environment("a")]))["Hardware"] == "Z80, 1 core, 2 × H100"


@pytest.mark.parametrize(
    ("seconds", "text"), [(59.6, "60 s"), (119, "119 s"), (120, "2 min"), (7200, "2.0 h"), (200000, "2.3 days")]
)
def test_times_are_rounded(seconds, text):
    assert results.rounded_time(seconds) == text


def test_gpu_hours_of_runs_on_gpus(small):
    run = small.done("tsn", top1=40.0)
    cost = replace(COST, wall_seconds=7200.0, device_hours=32.0)
    plant_record(run, {"top1": 40.0}, environment=environment("a" * 40), cost=cost)
    small.build()
    assert "2.0 h (32 GPU hours) in 1 run; mean of a run: tsn 2.0 h" in small.text()
