"""A dataset and recipes so small that whole runs fit into a test."""

import html
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import settings

from tada.base import files
from tada.data.mini.rendering import write_video

# Tests that draw examples: a few, the same each time; `pytest --hypothesis-profile=long` draws many, others each time.
settings.register_profile("quick", max_examples=25, derandomize=True, deadline=None)
settings.register_profile("long", max_examples=300, deadline=None, print_blob=True)
settings.load_profile("quick")

TEMPLATES = ["Pushing [something] left", "Pushing [something] right", "Holding [something]"]


@pytest.fixture(scope="session")
def tiny_ssv2(tmp_path_factory) -> Path:
    """Something-Something-V2's own layout: 36 training and 9 validation videos of a bar, moving left, right or not."""
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


@pytest.fixture(scope="session")
def tiny_k400(tmp_path_factory) -> Path:
    """Kinetics-400's official CSV files and class folders: 24 training and 6 validation videos of the same bars."""
    root = tmp_path_factory.mktemp("k400")
    generator = np.random.default_rng(1)
    for split, count in (("train", 24), ("val", 6)):
        rows = ["label,youtube_id,time_start,time_end,split,is_cc"]
        for number in range(count):
            name = TEMPLATES[number % 3].replace("[something]", "it")
            file = root / split / name / f"{split:_<9}{number:02d}_000005_000015.mp4"
            file.parent.mkdir(parents=True, exist_ok=True)
            write_video(file, _bar(number % 3, generator, length=20))
            rows.append(f'"{name}",{split:_<9}{number:02d},5,15,{split},0')
        (root / f"{split}.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="session")
def tiny_ek100(tmp_path_factory) -> Path:
    """EPIC-KITCHENS-100's own layout: 4 training and 1 validation video, each of 6 segments of bars, high or low."""
    root = tmp_path_factory.mktemp("ek100")
    generator = np.random.default_rng(2)
    for split, videos in (("train", ["P01_01", "P01_02", "P02_01", "P02_03"]), ("validation", ["P03_101"])):
        rows = ["narration_id,participant_id,video_id,start_timestamp,stop_timestamp,verb_class,noun_class"]
        for video in videos:
            parts = []
            for number in range(6):
                bar = _bar(number % 3, generator, length=20)
                bar[:, 12 * (number % 2) : 12 * (number % 2) + 12] //= 4
                parts.append(bar)
                start = f"00:00:{20 * number / 12:05.2f}"
                stop = f"00:00:{20 * (number + 1) / 12:05.2f}"
                rows.append(f"{video}_{number},{video[:3]},{video},{start},{stop},{number % 3},{number % 2}")
            file = root / video[:3] / "videos" / f"{video}.mp4"
            file.parent.mkdir(parents=True, exist_ok=True)
            write_video(file, np.concatenate(parts))
        (root / f"EPIC_100_{split}.csv").write_text("\n".join(rows) + "\n")
    for task, names in (("verb", ["push-left", "push-right", "hold"]), ("noun", ["low", "high"])):
        lines = [f"{number},{name}" for number, name in enumerate(names)]
        (root / f"EPIC_100_{task}_classes.csv").write_text("\n".join(["id,key", *lines]) + "\n")
    return root


def _bar(motion: int, generator: np.random.Generator, length: int = 10) -> np.ndarray:
    frames = generator.integers(0, 40, (length, 24, 32, 3), dtype=np.uint8)
    start = int(generator.integers(8, 16))
    for time, frame in enumerate(frames):
        place = start + (-time, time, 0)[motion]
        frame[:, max(place, 0) : place + 5] = 220
    return frames


@pytest.fixture(scope="session")
def tiny_config(tmp_path_factory) -> Path:
    """A config folder with the real models and recipes of few steps; EPIC-KITCHENS-100 starts from Kinetics-400."""
    folder = tmp_path_factory.mktemp("config")
    (folder / "recipes").mkdir()
    shutil.copy(files.CONFIG / "models.yaml", folder)
    shutil.copy(files.CONFIG / "recipes" / "paper.yaml", folder / "recipes")
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
    interval = {
        **recipe,
        "sampling": {"kind": "interval", "interval": 2, "target_fps": 12},
        "train": {**train, "epochs": 2},
        "test": {**recipe["test"], "clips": 3},
    }
    ek100 = {
        **interval, "classes": {"verb": 3, "noun": 2}, "train": {**interval["train"], "flip": False, "initial": "k400"},
    }  # fmt: skip
    recipes = {"ssv2": recipe, "k400": interval, "ek100": ek100}
    (folder / "recipes" / "mini.yaml").write_text(yaml.safe_dump(recipes))
    return folder


@pytest.fixture
def tada_command(tiny_config) -> Callable[..., subprocess.Popen]:
    """Starts `tada ...` with the tiny recipes, in the background, by the command `before` if there is one; output is
    kept as text."""

    def start(*arguments: str, cwd: Path, before: Sequence[str] = (), config: Path = tiny_config) -> subprocess.Popen:
        environment = {**os.environ, "TADA_CONFIG": str(config), "OMP_NUM_THREADS": "1"}
        command = [*before, sys.executable, "-m", "tada", *arguments]
        return subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    return start


@pytest.fixture
def compiling(monkeypatch, tmp_path):
    """Compiled code of this test alone, in `tmp_path / "code"`, and nothing of it left behind.

    The compiler is torch's own (inductor) where there is a C++ compiler; elsewhere "aot_eager", which traces and
    differentiates in the same way and writes no code.
    """
    import torch

    if not shutil.which("g++"):
        real = torch.compile
        monkeypatch.setattr(
            torch, "compile", lambda function, dynamic, options: real(function, dynamic=dynamic, backend="aot_eager")
        )
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "code"))
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    torch._dynamo.reset()
    yield
    torch.compiler.set_stance("default")
    torch._dynamo.reset()


CHROMIUM = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "chromium-browser"))), None)
WATCH = """<script>
window.faults = [];
addEventListener("error", event => faults.push(event.message || event.target.outerHTML), true);
addEventListener("unhandledrejection", event => faults.push(String(event.reason)));
</script>"""
CHECK = """<script>
window.checked = () => {
    const missing = [...document.images].filter(image => !image.naturalWidth).length;
    const fetched = performance.getEntriesByType("resource").filter(one => !one.name.startsWith("data:")).length;
    const wide = document.documentElement.scrollWidth > window.innerWidth;
    const found = `missing ${missing} of ${document.images.length}, fetched ${fetched}, too wide: ${wide}`;
    return `${found}, faults: ${faults.join("; ") || "none"}`;
};
addEventListener("load", () => {
    document.querySelectorAll("details").forEach(one => one.open = true);
    document.title = checked();
});
</script>"""


@pytest.fixture
def browse(tmp_path) -> Callable[..., str]:
    """Opens a page in a headless browser as wide as told and returns what the page finds missing in itself.

    `script`, HTML at the end of the page, may look further and add to the title. Any message in the console fails, but
    for the hint of a library in Snakemake's report that it is meant for development.
    """
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")

    def open_page(page: Path, width: int, script: str = "") -> str:
        text = page.read_text(encoding="utf-8")
        before, end, after = text.rpartition("</body>")
        before = before.replace("<head>", f"<head>{WATCH}", 1)
        (tmp_path / "checked.html").write_text(f"{before}{CHECK}{script}{end}{after}", encoding="utf-8")
        # A window is at least 500 pixels wide; a frame is as narrow as it is told.
        frame = tmp_path / "frame.html"
        follow = "setInterval(() => document.title = document.querySelector('iframe').contentDocument.title, 50)"
        frame.write_text(f'<iframe src="checked.html" width="{width}" height="900"></iframe><script>{follow}</script>')
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
        command += ["--allow-file-access-from-files", "--enable-logging=stderr", "--virtual-time-budget=10000"]
        command += ["--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom", frame.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        console = [line for line in done.stderr.splitlines() if "CONSOLE" in line and "tailwind" not in line]
        assert not console, console
        return html.unescape(done.stdout.partition("<title>")[2].partition("</title>")[0])

    return open_page


NOT_FAST = {"browse", "compiling", "tada_command", "slurm"}
"""Fixtures of a browser, of torch's compiler, of whole runs, and of a scheduler."""

SLOW_FILES = {
    *(
        "benchmarks/test_folding.py",
        "classification/test_compiled_run.py",
        "classification/test_full_size.py",
        "classification/test_half_precision.py",
        "classification/test_prediction.py",
    ),
    "cluster/test_launch.py",
    *("cluster/test_local.py", "cluster/test_slurm.py", "cluster/test_tables.py"),
    *(
        "data/mini/test_hardness.py",
        "data/mini/test_layouts.py",
        "data/test_check_data.py",
        "data/test_inspection.py",
        "data/test_prepared.py",
        "data/video/test_decoding.py",
    ),
    *("benchmarks/test_tadaconv.py", "models/test_fused.py", "runs/test_step.py"),
    "localization/test_full_size.py",
    *("localization/test_bmn_training.py", "localization/test_feature_sources.py", "localization/test_pipeline.py"),
    *("docs/test_site.py", "docs/test_snippets.py", "localization/test_released.py"),
    *("models/test_weights.py", "models/test_zoo.py", "report/figures/test_figures.py", "report/judge/test_audit.py"),
    *("report/pages/test_collect.py", "report/pages/test_compare.py", "report/pages/test_footer.py"),
    "report/pages/test_latex.py",
    "report/pages/test_overview.py",
    *(
        "report/pages/test_pages.py",
        "runs/test_export.py",
        "runs/test_own_videos.py",
        "runs/test_released.py",
        "runs/test_transfer.py",
    ),
    "test_architecture.py",
    *(
        "test_complexity.py",
        "test_conv.py",
        "test_execute.py",
        "test_install.py",
        "workflow/test_all.py",
        "workflow/test_malformed.py",
    ),
    "workflow/test_snakefile.py",
}
"""Tests that train, start processes, Snakemake or jobs, or build networks or pages of full size."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as fast what is neither slow nor needs SLURM, a browser or a run; `pytest -m fast` is for every edit."""
    for item in items:
        if item.path.relative_to(Path(__file__).parent).as_posix() in SLOW_FILES:
            item.add_marker("slow")
        if "slow" not in item.keywords and not NOT_FAST & set(getattr(item, "fixturenames", ())):
            item.add_marker("fast")
