"""A whole run that is compiled says so in its record, and the next one finds its code."""

import json
import os
import subprocess
import sys

import pytest


def test_the_record_says_what_was_compiled(tiny_config, tiny_ssv2, tmp_path):
    environment = {**os.environ, "TADA_CONFIG": str(tiny_config), "OMP_NUM_THREADS": "1"}
    environment.pop("TORCHINDUCTOR_CACHE_DIR", None)
    command = [sys.executable, "-m", "tada", "run", "ssv2", "tsn", "--data", str(tiny_ssv2)]
    found = {}
    for results, option in (("compiled", "--compile"), ("eager", "--no-compile")):
        done = subprocess.run(
            [*command, option, "--results", results], cwd=tmp_path, env=environment, capture_output=True, text=True,
            timeout=550, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        folder = tmp_path / results / "mini/ssv2/tsn/seed0"
        found[results] = json.loads((folder / "metrics.json").read_text())
        assert ("the training step is compiled" in (folder / "log.txt").read_text()) == (option == "--compile")
    compiled, eager = found["compiled"], found["eager"]
    assert compiled["computation"] == {"tf32": False, "compiled": True}
    assert eager["computation"] == {"tf32": False, "compiled": False, "eager_because": "it is switched off"}
    assert compiled["signature"] == eager["signature"]
    assert list((tmp_path / "compiled/cache/compiled").rglob("*.py")), "the code is not where the next run looks"
    curves = [(tmp_path / results / "mini/ssv2/tsn/seed0/curves.csv").read_text().splitlines() for results in found]
    losses = [[float(line.split(",")[2]) for line in lines[1:]] for lines in curves]
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-2)
    assert losses[0] == pytest.approx(losses[1], rel=0.2)  # what is rounded otherwise grows from step to step
