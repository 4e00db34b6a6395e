"""A dataset and recipes so small that whole runs fit into a test."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from tada import paths
from tada.data.mini.writing import write_video

TEMPLATES = ["Pushing [something] left", "Pushing [something] right", "Holding [something]"]


@pytest.fixture(scope="session")
def tiny_ssv2(tmp_path_factory) -> Path:
    """Something-Something-V2's own layout: 36 training and 9 validation videos of a bar that moves left, right or not."""
    root = tmp_path_factory.mktemp("ssv2")
    (root / "videos").mkdir()
    generator = np.random.default_rng(0)
    video = 0
    for split, count in (("train", 36), ("validation", 9)):
        rows = []
        for number in range(count):
            video += 1
            template = TEMPLATES[number % 3]
            rows.append({"id": str(video), "template": template, "label": template, "placeholders": ["a bar"]})
            write_video(root / "videos" / f"{video}.webm", _bar(number % 3, generator))
        (root / f"something-something-v2-{split}.json").write_text(json.dumps(rows))
    labels = {template.replace("[", "").replace("]", ""): str(index) for index, template in enumerate(TEMPLATES)}
    (root / "something-something-v2-labels.json").write_text(json.dumps(labels))
    return root


def _bar(motion: int, generator: np.random.Generator) -> np.ndarray:
    frames = generator.integers(0, 40, (10, 24, 32, 3), dtype=np.uint8)
    start = int(generator.integers(8, 16))
    for time, frame in enumerate(frames):
        place = start + (-time, time, 0)[motion]
        frame[:, max(place, 0) : place + 5] = 220
    return frames


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory) -> Path:
    """A config folder with the real models and a recipe of four epochs of three steps."""
    folder = tmp_path_factory.mktemp("config")
    (folder / "recipes").mkdir()
    shutil.copy(paths.CONFIG / "models.yaml", folder)
    shutil.copy(paths.CONFIG / "recipes" / "paper.yaml", folder / "recipes")
    train = {
        "epochs": 4, "warmup_epochs": 1, "base_lr": 0.02, "warmup_lr": 0.002, "batch": 12, "batch_per_device": 6,
        "scale": [20, 24], "crop": 16, "flip": True, "initial": "scratch",
    }  # fmt: skip
    recipe = {
        "classes": 3,
        "network": {"depth": [1, 1, 1, 1], "width": 8},
        "sampling": {"kind": "segment"},
        "train": train,
        "test": {"clips": 2, "crops": 3, "short_side": 20, "crop": 20, "batch": 4},
        "data": {"cache": True, "max_skipped": 0.1, "render": {}},
    }
    (folder / "recipes" / "mini.yaml").write_text(yaml.safe_dump({"ssv2": recipe}))
    return folder


@pytest.fixture
def tada_command(tiny_config) -> Callable[..., subprocess.Popen]:
    """Starts `tada ...` with the tiny recipes, in the background; output is kept as text."""

    def start(*arguments: str, cwd: Path) -> subprocess.Popen:
        environment = {**os.environ, "TADA_CONFIG": str(tiny_config), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "tada", *arguments]
        return subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    return start
