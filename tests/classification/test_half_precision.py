"""A whole run that is tested in half precision says by how much that differs."""

import json
import os
import shutil
import subprocess
import sys

import yaml


def test_the_comparison_stands_in_log_and_metrics(tiny_config, tiny_ssv2, tmp_path):
    config = shutil.copytree(tiny_config, tmp_path / "config")
    content = yaml.safe_load((config / "recipes/mini.yaml").read_text())
    content["ssv2"]["test"]["precision"] = "bfloat16"
    content["ssv2"]["train"]["epochs"] = 1
    (config / "recipes/mini.yaml").write_text(yaml.safe_dump(content))
    environment = {**os.environ, "TADA_CONFIG": str(config), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tada", "run", "ssv2", "tada2d", "--data", str(tiny_ssv2)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "results/mini/ssv2/tada2d/seed0"
    record = json.loads((folder / "metrics.json").read_text())
    told = record["half_precision"]
    assert (told["precision"], told["videos"]) == ("bfloat16", 9)
    assert 0 < told["largest_difference"] < 0.1 and 0 <= told["changed_top1"] <= 9
    assert record["config"]["recipe"]["test"]["precision"] == "bfloat16"
    assert "testing in bfloat16: on 9 videos the scores are within" in (folder / "log.txt").read_text()
