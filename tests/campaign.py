"""Kills, damages and compares whole runs for as long as one lets it: `uv run python tests/campaign.py --minutes 10`.

Each trial disturbs one run of a small project in a way drawn at random, asks for the same again, and compares metrics,
scores or detections, and the table, with those of a run that was left alone: to the bit. Trials of one process and of
two, of localization, of tables, of full disks, of two commands at once, and of every kind of file. Ends with a table of
how many of each kind were tried and how many passed, and with status 1 if any failed; the folder of a failed trial is
kept.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from tada.base.files import CONFIG
from tada.data import mini

RENDERED = {"seed": 0, "height": 24, "width": 24, "fps": 12}
TRAIN = {
    "epochs": 3, "warmup_epochs": 1, "base_lr": 0.02, "warmup_lr": 0.002, "batch": 8, "batch_per_device": 4,
    "scale": [20, 24], "crop": 16, "flip": True, "initial": "scratch",
}  # fmt: skip
COMMON = {
    "network": {"depth": [1, 1, 1, 1], "width": 8},
    "train": TRAIN,
    "test": {"clips": 2, "crops": 1, "short_side": 20, "crop": 20},
}
RECIPES = {
    "ssv2": {
        **COMMON, "classes": 13, "sampling": {"kind": "segment"},
        "data": {"cache": True, "render": {**RENDERED, "train": 26, "validation": 13, "frames": [12, 16]}},
    },
    "ek100": {
        **COMMON, "classes": {"verb": 8, "noun": 6}, "sampling": {"kind": "interval", "interval": 2, "target_fps": 12},
        "data": {"render": {
            **RENDERED, "train": 10, "validation": 5, "frames": [20, 40], "untrimmed": [96, 130], "segments": [1, 2],
            "pause": 8,
        }},
    },
    "ek100-localization": {
        "task": "localization", "videos": "ek100",
        "clips": {"target_fps": 12, "interval": 1, "stride": 4, "short_side": 16, "batch": 8},
        "bmn": {
            "window": 5.333, "stride": 2.667, "temporal": 16, "durations": 16, "base": 8, "summed": 8, "confidence": 8,
            "samples": 4, "epochs": 3, "batch": 2,
        },
        "suppression": {"keep": 20}, "max_skipped": 0.5, "recall_at": 20, "thresholds": [0.1, 0.2, 0.3, 0.4, 0.5],
        "classification": {"of": "logits", "clips": 2, "top_verbs": 8, "top_nouns": 6, "top": 8},
    },
}  # fmt: skip
TABLE = {
    "title": "Table T", "caption": "Two rows.", "place": "here",
    "columns": {
        "gflops": {"header": "GFLOPs", "complexity": "gflops", "classes": 13, "resolution": 32},
        "top1": {"header": "Top-1", "metric": "top1", "dataset": "ssv2"},
    },
    "rows": [{"model": model, "cells": {"gflops": "1.0", "top1": "50.0"}} for model in ("tsn", "tada2d")],
}  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """A run that trials disturb."""

    dataset: str
    model: str
    processes: int = 1

    @property
    def folder(self) -> Path:
        return Path("results/mini") / self.dataset / self.model / "seed0"

    @property
    def counts(self) -> Path:
        """The file of its network's size, which the table shows."""
        return Path("results/complexity") / self.model / "13x32.json"

    @property
    def data(self) -> str:
        return f"data/mini/{self.dataset.removesuffix('-localization')}"


SUBJECTS = (Subject("ssv2", "tsn"), Subject("ssv2", "tada2d", processes=2), Subject("ek100-localization", "tada2d"))
NOTES = ("job.json", "progress.json", "log.txt", ".lock", "../../../../.scheduler/slurm.json")
"""Files, from a run's folder on, that say how a run went or goes, and nothing of its numbers."""


class Failed(Exception):
    """A trial did not end as it has to."""


class Project:
    """A folder with small videos, recipes, a table and, once it was run undisturbed, the results to compare with."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for part in ("config/recipes", "paper/tables"):
            (root / part).mkdir(parents=True)
        shutil.copy(CONFIG / "models.yaml", root / "config")
        (root / "config/recipes/mini.yaml").write_text(yaml.safe_dump(RECIPES))
        (root / "paper/paper.yaml").write_text("title: Trial\nshort: T\nvenue: here\n")
        (root / "paper/tables/small.yaml").write_text(yaml.safe_dump(TABLE, sort_keys=False))
        for dataset in ("ssv2", "ek100"):
            mini.render(root / "data/mini" / dataset, RECIPES[dataset]["data"]["render"], dataset=dataset)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TADA_CONFIG": str(self.root / "config")}
        environment |= {"TADA_PAPER": str(self.root / "paper")}
        return subprocess.Popen(
            [sys.executable, "-m", "tada", *arguments], cwd=self.root, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def tada(self, *arguments: str, status: int | None = 0) -> str:
        """The output of a command that has to end with `status` (None: any), and never with a traceback."""
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=600)
        if "Traceback" in output or (status is not None and process.returncode != status):
            raise Failed(f"tada {' '.join(arguments)} ended with status {process.returncode}:\n{output[-2000:]}")
        return output

    def run(self, subject: Subject) -> None:
        if subject.dataset.endswith("-localization"):
            self.run(Subject(subject.dataset.removesuffix("-localization"), subject.model))
        self.tada(*self.command(subject))

    def count(self, subject: Subject) -> None:
        sizes = ["--classes", "13", "--resolution", "32"]
        self.tada("complexity", subject.model, *sizes, "--out", str(subject.counts))

    def command(self, subject: Subject) -> list[str]:
        processes = ["--processes", str(subject.processes)]
        return ["run", subject.dataset, subject.model, "--data", subject.data, *processes]

    def numbers(self, subject: Subject) -> dict[str, object]:
        """All that has to be the same again."""
        folder = self.root / subject.folder
        found = {"metrics": json.loads((folder / "metrics.json").read_text())["metrics"]}
        if (folder / "detections.json").exists():
            found["detections"] = json.loads((folder / "detections.json").read_text())["results"]
        with np.load(folder / "scores.npz") as arrays:
            found |= {name: arrays[name].tolist() for name in arrays.files}
        return found

    def table(self) -> str:
        self.tada("table", "small")
        return (self.root / "tables/small.csv").read_text()

    def files(self) -> set[Path]:
        return {path for path in (self.root / "results").rglob(".*.tmp")}


def damage(file: Path, draw: random.Random) -> str:
    """Damage a file in a way drawn at random, and say how."""
    content = bytearray(file.read_bytes())
    how = draw.choice(["bit", "half", "empty", "gone", "zeros", "junk", "folder"])
    if how in ("gone", "folder"):
        file.unlink()
        if how == "folder":
            file.mkdir()
        return how
    if how == "bit":
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    elif how == "zeros":
        middle = len(content) // 2
        content[middle:] = bytes(len(content) - middle)
    else:
        junk = draw.choice([b"[]", b"null", b"NaN", b'{"metrics": "x"}', os.urandom(100)])
        content = {"half": content[: len(content) // 2], "empty": b"", "junk": junk}[how]
    file.write_bytes(content)
    return how


def interrupted(project: Project, arguments: list[str], seconds: float, draw: random.Random) -> None:
    """A command is killed or stopped after so many seconds, itself or a process of it."""
    process = project.start(*arguments)
    time.sleep(seconds)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False)
    victims = [process.pid, *map(int, children.stdout.split())]
    with suppress(ProcessLookupError):
        os.kill(draw.choice(victims), draw.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
    output, _ = process.communicate(timeout=600)
    if "Traceback" in output and "KeyboardInterrupt" not in output:
        raise Failed(f"a killed command ended with a traceback:\n{output[-2000:]}")


def killed(project: Project, subject: Subject, draw: random.Random) -> None:
    """A run is killed or stopped at any moment; the same command goes on."""
    shutil.rmtree(project.root / subject.folder)
    for _ in range(draw.randint(1, 2)):
        interrupted(project, project.command(subject), draw.uniform(0.5, 12), draw)


def killed_table(project: Project, _subject: Subject, draw: random.Random) -> None:
    """A table is killed while it is made."""
    interrupted(project, ["table", "small"], draw.uniform(0.1, 4), draw)


def twice(project: Project, subject: Subject, draw: random.Random) -> None:
    """The same is asked for twice at once, of a run that is not there or whose file is damaged."""
    if draw.random() < 0.5:
        shutil.rmtree(project.root / subject.folder)
    else:
        damage(draw.choice(recorded(project, subject)), draw)
    for process in [project.start(*project.command(subject)) for _ in range(2)]:
        output, _ = process.communicate(timeout=600)
        if process.returncode or "Traceback" in output:
            raise Failed(f"one of two commands ended with status {process.returncode}:\n{output[-2000:]}")


def full_disk(project: Project, subject: Subject, draw: random.Random) -> None:
    """The disk of a run's folder is full before the run has ended; the same command goes on with more of it."""
    folder = project.root / subject.folder
    shutil.rmtree(folder)
    folder.mkdir()
    size = draw.choice([8, 40, 100, 200, 400])
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", folder], check=True, capture_output=True)
    try:
        output = project.tada(*project.command(subject), status=None)
        if "is full" not in output and not (folder / "metrics.json").exists():
            raise Failed(f"a disk of {size} KiB, and no word of it:\n{output[-2000:]}")
        shutil.copytree(folder, project.root / "saved")
    finally:
        subprocess.run(["umount", folder], check=True)
    folder.rmdir()
    (project.root / "saved").rename(folder)


def recorded(project: Project, subject: Subject) -> list[Path]:
    """The files of a finished run that hold its numbers."""
    folder = project.root / subject.folder
    notes = {folder / name for name in NOTES}
    return sorted(path for path in folder.rglob("*") if path.is_file() and path not in notes and path.stat().st_size)


def damaged_results(project: Project, subject: Subject, draw: random.Random) -> None:
    """A file of a finished run is damaged; `tada verify` names it, and the same command mends it."""
    file = draw.choice(recorded(project, subject))
    needed = file.suffix != ".npy" and file.name not in ("outcome.json", "checkpoint.previous.pt")
    how = damage(file, draw)
    if file.name not in project.tada("verify", status=None) and (needed or how != "gone"):
        raise Failed(f"tada verify does not name {file.name} ({how})")


def damaged_notes(project: Project, subject: Subject, draw: random.Random) -> None:
    """What says how a run went, or where it is queued, is damaged, of a finished run or of one that is made anew."""
    if draw.random() < 0.5:
        for file in recorded(project, subject):
            file.unlink()
    file = project.root / subject.folder / draw.choice(NOTES)
    file.parent.mkdir(exist_ok=True)
    if not file.exists() or not file.stat().st_size:
        file.write_text('{"id": "7", "name": "x", "signature": "y", "processes": 1}')
    damage(file, draw)
    project.tada("status")


def damaged_state(project: Project, subject: Subject, draw: random.Random) -> None:
    """A run is killed, and then what it has saved is damaged."""
    killed(project, subject, draw)
    if saved := recorded(project, subject):
        damage(draw.choice(saved), draw)


def damaged_counts(project: Project, subject: Subject, draw: random.Random) -> None:
    """The counts of a network are damaged; `tada verify` names them, the table is without them, and they are made anew.

    One bit in the checksum's name makes them those of an earlier version, which had none: the counts are whole then.
    """
    file, whole = project.root / subject.counts, project.table()
    how = damage(file, draw)
    verified = project.tada("verify", status=None)
    if "without a checksum" not in verified:
        if how != "gone" and f"{subject.counts}: " not in verified:
            raise Failed(f"tada verify does not name {subject.counts} ({how})")
        if project.table() == whole:
            raise Failed(f"the table shows what {subject.counts} does not hold ({how})")
    project.count(subject)


def damaged_cache(project: Project, subject: Subject, draw: random.Random) -> None:
    """The decoded frames are damaged before a run is made anew."""
    cached = [path for path in (project.root / "data/mini/ssv2/.cache").glob("*/*") if path.is_file()]
    damage(draw.choice(cached), draw)
    shutil.rmtree(project.root / subject.folder)


KINDS: tuple[Callable[[Project, Subject, random.Random], None], ...] = (
    killed, killed_table, twice, full_disk, damaged_results, damaged_notes, damaged_state, damaged_cache,
    damaged_counts,
)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    root = Path(tempfile.mkdtemp(prefix="campaign"))
    project = Project(root / "project")
    for subject in SUBJECTS:
        project.run(subject)
        project.count(subject)
    expected = {subject: project.numbers(subject) for subject in SUBJECTS}
    table = project.table()
    shutil.copytree(project.root / "results", root / "undisturbed")
    print(f"undisturbed runs are made in {root}", flush=True)
    tried, passed = Counter(), Counter()
    end = time.monotonic() + 60 * options.minutes
    while time.monotonic() < end:
        subject, kind = draw.choice(SUBJECTS), draw.choice(KINDS)
        name = f"{kind.__name__} {subject.dataset}, {subject.processes} processes"
        tried[name] += 1
        try:
            kind(project, subject, draw)
            project.run(subject)
            if project.numbers(subject) != expected[subject]:
                raise Failed("other numbers than those of the run that was left alone")
            if project.table() != table:
                raise Failed("another table")
            if left := project.files():
                raise Failed(f"left behind: {', '.join(map(str, left))}")
            project.tada("verify", "--mend", status=None)
            project.tada("verify")
            passed[name] += 1
        except (Failed, subprocess.TimeoutExpired, OSError, ValueError, KeyError) as error:
            kept = root / f"failed{sum(tried.values())}"
            shutil.copytree(project.root / "results", kept)
            print(f"{name}: {error}\n  kept in {kept}", flush=True)
            shutil.rmtree(project.root / "results")
            shutil.copytree(root / "undisturbed", project.root / "results")
        print(f"{sum(passed.values())} of {sum(tried.values())} passed", flush=True)
    print(*(f"{name:60} {passed[name]} of {tried[name]}" for name in sorted(tried)), sep="\n")
    return int(tried != passed)


if __name__ == "__main__":
    sys.exit(main())
