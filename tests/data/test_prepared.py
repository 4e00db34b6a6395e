"""Datasets whose videos are encoded anew: the same to every reader, made again only where that is needed."""

import errno
import io
import json
import os
import shutil
import signal
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tada.base import TadaError, processes
from tada.base.files import DiskError
from tada.base.progress import Progress
from tada.cli import app
from tada.data import catalog, mini, prepared
from tada.data.catalog import Place
from tada.data.mini.rendering import RenderSpec
from tada.data.prepared import Preparation, preparation, prepare, remove
from tada.data.validation import check
from tada.data.video.random_access import Video


def how(dataset: str, **changes) -> Preparation:
    return Preparation(**{"dataset": dataset, "short_side": 20, "group": 4, "crf": 18.0, **changes})


def fill(dataset: str, root: Path, out: Path, progress=None, options=None, workers=1, **changes) -> Preparation:
    place = Place(root, {name: str(value) for name, value in (options or {}).items()})
    return prepare(dataset, place, out, how(dataset, **changes), workers, progress or Progress("test"))


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the lock, by their paths."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def lines(out: Path) -> dict[str, dict]:
    found = (json.loads(line) for line in (out / prepared.VIDEOS).read_text().splitlines())
    return {line["source"]: line for line in found}


@pytest.fixture
def few(tmp_path, tiny_ssv2) -> Path:
    """Something-Something-V2's layout with 6 training videos and 3 others."""
    root = tmp_path / "original"
    (root / "videos").mkdir(parents=True)
    shutil.copy(tiny_ssv2 / "something-something-v2-labels.json", root)
    for split, count in (("train", 6), ("validation", 3)):
        name = f"something-something-v2-{split}.json"
        rows = json.loads((tiny_ssv2 / name).read_text())[:count]
        (root / name).write_text(json.dumps(rows))
        for row in rows:
            shutil.copy(tiny_ssv2 / "videos" / f"{row['id']}.webm", root / "videos")
    return root


@pytest.fixture
def listed(tmp_path, tiny_k400) -> Path:
    """Kinetics-400 by lists of paths, of files that are no mp4."""
    root = tmp_path / "lists"
    for split in ("train", "val"):
        rows = []
        for number, path in enumerate(sorted((tiny_k400 / split).rglob("*.mp4"))[:4]):
            target = root / "clips" / path.parent.name.replace(" ", "_") / f"{path.stem}.mkv"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
            rows.append(f"{target.relative_to(root)} {number % 3}")
        (root / f"{split}.txt").write_text("\n".join(rows) + "\n")
    return root


def of_kind(kind: str, request) -> tuple[str, Path]:
    if kind == "folders":
        root = request.getfixturevalue("tmp_path") / "folders"
        shutil.copytree(request.getfixturevalue("tiny_k400"), root)
        for split in ("train", "val"):
            (root / f"{split}.csv").unlink()
        (root / "train" / "zz nobody does this").mkdir()  # a class of its own
        return "k400", root
    if kind == "hacs":
        root = request.getfixturevalue("tmp_path") / "hacs"
        spec = RenderSpec(train=24, validation=12, frames=(8, 10), untrimmed=(30, 40), segments=(1, 2), pause=4)
        mini.render(root, spec, dataset="hacs")
        return "hacs", root
    return {"few": "ssv2", "listed": "k400"}.get(kind, kind.removeprefix("tiny_")), request.getfixturevalue(kind)


@pytest.mark.parametrize("kind", ["few", "tiny_k400", "listed", "folders", "tiny_ek100", "hacs"])
def test_a_prepared_dataset_reads_as_the_original(tmp_path, request, kind):
    dataset, root = of_kind(kind, request)
    before = contents(root)
    made = fill(dataset, root, tmp_path / "new")
    assert contents(root) == before
    one, other = (catalog.read(dataset, Place(folder)) for folder in (root, tmp_path / "new"))
    assert one.classes == other.classes
    for split in ("train", "validation"):
        originals, clips = (getattr(read, split).clips for read in (one, other))
        assert [(clip.name, clip.label, clip.start, clip.end) for clip in clips] == [
            (clip.name, clip.label, clip.start, clip.end) for clip in originals
        ]
        for original, clip in zip(originals, clips, strict=True):
            videos = [Video(each.path, each.start, each.end) for each in (original, clip)]
            assert videos[0].info.frames == videos[1].info.frames
            assert videos[0].info.fps == videos[1].info.fps
            assert min(videos[1].read([0]).shape[1:3]) == 20
    sources = {clip.path for split in (one.train, one.validation) for clip in split.clips}
    assert (made.finished, made.videos, made.copied) == (True, len(sources), 0)
    report = check(dataset, Place(tmp_path / "new"), tmp_path / "seen.jsonl")
    faults = [names for split in report["splits"].values() for names in split["faults"].values()]
    assert (faults, report["unlisted"]) == ([{}] * 8, [])


def test_parts_of_a_dataset_that_lie_apart_end_up_in_one_folder(tmp_path, few):
    (tmp_path / "videos").mkdir()
    (tmp_path / "lists").mkdir()
    for path in (few / "videos").iterdir():
        path.rename(tmp_path / "videos" / path.name)
    for path in few.glob("*.json"):
        path.rename(tmp_path / "lists" / path.name)
    fill("ssv2", few, tmp_path / "new", options={"annotations": tmp_path / "lists", "videos": tmp_path / "videos"})
    assert len(catalog.read("ssv2", Place(tmp_path / "new")).train.clips) == 6


def test_the_manifest_says_what_each_video_was_and_is(tmp_path, few):
    made = fill("ssv2", few, tmp_path / "new")
    found = lines(tmp_path / "new")
    assert set(found) == {f"videos/{path.name}" for path in (few / "videos").iterdir()}
    for source, line in found.items():
        original, target = few / source, tmp_path / "new" / line["target"]
        assert target == (tmp_path / "new" / source).with_suffix(".mp4")
        assert (line["source_bytes"], line["bytes"]) == (original.stat().st_size, target.stat().st_size)
        assert line["source_sha256"] == prepared.sha256(original)
        assert (line["frames"], line["fps"]) == (Video(original).info.frames, Video(original).info.fps)
        assert line["psnr"] > 20
    assert made.psnr == pytest.approx(sum(line["psnr"] for line in found.values()) / len(found), abs=1e-3)
    assert made.least_psnr == min(line["psnr"] for line in found.values())
    assert preparation(Place(tmp_path / "new")) == made


def test_a_second_call_makes_nothing_again(tmp_path, few):
    fill("ssv2", few, tmp_path / "new")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "new" / "videos").iterdir()}
    files = contents(tmp_path / "new")
    fill("ssv2", few, tmp_path / "new")
    assert contents(tmp_path / "new") == files
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "new" / "videos").iterdir()} == before


def test_what_has_changed_is_named_and_done_again_alone(tmp_path, few, capsys):
    fill("ssv2", few, tmp_path / "new")
    changed, touched, gone = sorted((few / "videos").iterdir())[:3]
    new = {path.name: path for path in (tmp_path / "new" / "videos").iterdir()}
    before = {name: path.stat().st_mtime_ns for name, path in new.items()}
    shutil.copy(touched, changed)
    os.utime(touched, (1, 1))  # a date says nothing where the content is the same
    new[f"{gone.stem}.mp4"].unlink()
    capsys.readouterr()
    fill("ssv2", few, tmp_path / "new")
    told = [line for line in capsys.readouterr().err.splitlines() if "done again" in line]
    assert len(told) == 2
    assert f"{changed}: has changed since it was prepared; it is done again" in told[0]
    assert f"{gone.stem}.mp4: is gone, or changed since it was written; it is done again" in told[1]
    again = {name for name, path in new.items() if path.stat().st_mtime_ns != before[name]}
    assert again == {f"{changed.stem}.mp4", f"{gone.stem}.mp4"}
    assert new[f"{changed.stem}.mp4"].read_bytes() == new[f"{touched.stem}.mp4"].read_bytes()


def test_a_source_that_changes_meanwhile_stops_the_call(tmp_path, few, monkeypatch):
    from tada.data.video import sequential

    def encode(source, target, how):
        made = sequential_encode(source, target, how)
        os.utime(source, (1, 1))
        return made

    sequential_encode = sequential.encode
    monkeypatch.setattr(sequential, "encode", encode)
    with pytest.raises(TadaError, match="changes while it is being prepared"):
        fill("ssv2", few, tmp_path / "new")
    monkeypatch.undo()
    assert fill("ssv2", few, tmp_path / "new").finished


def test_videos_that_are_no_longer_annotated_go(tmp_path, few):
    fill("ssv2", few, tmp_path / "new")
    file = few / "something-something-v2-train.json"
    rows = json.loads(file.read_text())
    file.write_text(json.dumps(rows[1:]))
    assert fill("ssv2", few, tmp_path / "new").videos == 8
    assert not (tmp_path / "new" / "videos" / f"{rows[0]['id']}.mp4").exists()
    assert catalog.read("ssv2", Place(tmp_path / "new")).unlisted == ()


def test_what_cannot_be_decoded_is_copied_with_its_reason(tmp_path, few, capsys):
    bad = sorted((few / "videos").iterdir())[0]
    bad.write_bytes(bad.read_bytes()[:-900])
    made = fill("ssv2", few, tmp_path / "new")
    copy = tmp_path / "new" / "videos" / bad.name
    assert copy.read_bytes() == bad.read_bytes()
    assert made.copied == 1
    line = lines(tmp_path / "new")[f"videos/{bad.name}"]
    assert (line["target"], "psnr" in line) == (f"videos/{bad.name}", False)
    assert f"{bad}: copied as it is: {line['reason']}" in capsys.readouterr().err


def test_a_killed_call_goes_on_and_ends_with_the_same_files(tmp_path, tiny_ssv2, tada_command):
    options = ["--short-side", "20", "--group", "4", "--workers", "2"]
    start = ["prepare", "ssv2", "--data", str(tiny_ssv2), "--out"]
    process = tada_command(*start, "killed", *options, cwd=tmp_path)
    journal = tmp_path / "killed" / prepared.VIDEOS
    while process.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") >= 5):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = journal.read_bytes().count(b"\n")
    assert 5 <= done < 45
    with pytest.raises(TadaError, match="not all videos are prepared; call tada prepare again"):
        preparation(Place(tmp_path / "killed"))
    for folder in ("killed", "whole"):
        process = tada_command(*start, folder, *options, cwd=tmp_path)
        output, _ = process.communicate(timeout=200)
        assert process.returncode == 0, output
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


class FullDisk(io.FileIO):
    """Takes so many bytes and no more."""

    room = 20_000

    def write(self, content) -> int:
        FullDisk.room -= len(content)
        if FullDisk.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(content)


def test_on_a_full_disk_nothing_is_lost(tmp_path, few, monkeypatch):
    undisturbed = fill("ssv2", few, tmp_path / "whole")
    opened = Path.open

    def limited(path, mode="r", *arguments, **options):
        mine = mode == "wb" and path.suffix == ".tmp" and path.parent.name == "videos"
        return FullDisk(path, "wb") if mine else opened(path, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", limited)
    with pytest.raises(DiskError, match=r"not written: the disk at .* is full; what was saved before is whole"):
        fill("ssv2", few, tmp_path / "new")
    monkeypatch.undo()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "new" / "videos").iterdir()}
    assert len(kept) == len(lines(tmp_path / "new")) >= 1
    assert not [path for path in kept if path.suffix == ".tmp"]
    assert fill("ssv2", few, tmp_path / "new") == undisturbed
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert contents(tmp_path / "new") == contents(tmp_path / "whole")


def test_remove_leaves_nothing_and_takes_nothing_else(tmp_path, few):
    out = tmp_path / "new"
    fill("ssv2", few, out)
    note = out / "videos" / "notes.md"
    note.write_text("mine")
    with pytest.raises(TadaError, match=r"nothing removed, .* not of tada prepare: videos/notes\.md"):
        remove(out)
    note.unlink()
    other = sorted((out / "videos").iterdir())[0]
    content = other.read_bytes()
    other.write_bytes(content + b"more")
    with pytest.raises(TadaError, match=f"not of tada prepare: videos/{other.name}"):
        remove(out)
    other.write_bytes(content)
    assert len(contents(out)) == 9 + 3 + 2
    result = CliRunner().invoke(app, ["prepare", "ssv2", "--out", str(out), "--remove"])
    assert result.exit_code == 0, result.output
    assert not out.exists()
    with pytest.raises(TadaError, match="nothing in it was made by tada prepare"):
        remove(few)
    assert len(contents(few)) == 9 + 3


def test_what_is_refused(tmp_path, few):
    out = tmp_path / "new"
    for place in (few / "new", few, tmp_path):
        with pytest.raises(TadaError, match="has to lie apart from"):
            fill("ssv2", few, place)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(TadaError, match="is not empty, and nothing in it was made by tada prepare"):
        fill("ssv2", few, tmp_path / "full")
    fill("ssv2", few, out)
    with pytest.raises(TadaError, match="was prepared with short_side 20, not 24; choose another folder, or call"):
        fill("ssv2", few, out, short_side=24)
    with pytest.raises(TadaError, match="prepared already; prepare from the original videos"):
        fill("ssv2", out, tmp_path / "again")


def test_an_original_that_cannot_be_read_is_named(tmp_path, few):
    with pytest.raises(TadaError, match=r"videos/none\.webm: cannot be read: No such file"):
        prepared._prepare("videos/none.webm", few, tmp_path / "new", how("ssv2"))


def test_a_process_that_was_ended_is_said_and_the_next_call_goes_on(tmp_path, few, monkeypatch):
    class Ended:
        """A pool of processes of which one is killed behind the first item."""

        def __init__(self, *_, **__):
            pass

        def map(self, function, items, **_):
            yield function(items[0])
            raise BrokenProcessPool

        def shutdown(self, **_):
            pass

    monkeypatch.setattr(processes, "ProcessPoolExecutor", Ended)
    with pytest.raises(TadaError, match="was ended, often since memory ran out: lower --workers; the same command"):
        fill("ssv2", few, tmp_path / "new", workers=2)
    monkeypatch.undo()
    assert len(lines(tmp_path / "new")) == 1
    assert fill("ssv2", few, tmp_path / "new").videos == 9


def test_two_videos_of_one_name_are_refused(tmp_path, listed):
    first = next((listed / "clips").rglob("*.mkv"))
    shutil.copy(first, first.with_suffix(".avi"))
    with (listed / "train.txt").open("a") as file:
        file.write(f"{first.with_suffix('.avi').relative_to(listed)} 0\n")
    with pytest.raises(TadaError, match="would have the same name as"):
        fill("k400", listed, tmp_path / "new")


def test_the_command_takes_what_the_recipe_needs(tmp_path, few):
    result = CliRunner().invoke(app, ["prepare", "ssv2", "--data", str(few), "--out", str(tmp_path / "new")])
    assert result.exit_code == 0, result.output
    assert "9 videos: short side of at most 320 pixels, H.264, each frame for itself, CRF 18" in result.output
