"""What is added to this project is one entry, one line or one file."""

import json
import os
import subprocess
import sys

from tada.base import files


def test_a_new_network(tmp_path):
    """One entry of models.yaml is a network that can be built, counted and trained."""
    (tmp_path / "models.yaml").write_text(
        (files.CONFIG / "models.yaml").read_text() + "\nslim: {extends: tada2d, width: 16, depth: [1, 1, 1, 1]}\n"
    )
    command = [sys.executable, "-m", "tada", "complexity", "slim", "--classes", "5", "--resolution", "32"]
    environment = os.environ | {"TADA_CONFIG": str(tmp_path), "PYTHONPATH": str(files.PROJECT)}
    subprocess.run([*command, "--out", str(tmp_path / "slim.json")], env=environment, check=True)
    record = json.loads((tmp_path / "slim.json").read_text())
    assert record["model"] == "slim"
    assert 0 < record["params"] < 2_000_000
    assert record["macs"] == sum(record["by_operator"].values()) > 0
