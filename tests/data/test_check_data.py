"""The command on datasets with planted faults: it finds each of them and nothing else, however it is disturbed."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tada.data.mini.rendering import write_video

SSV2 = "something-something-v2-{}.json"


def start(root, dataset="ssv2", *arguments, cwd):
    command = [sys.executable, "-m", "tada", "check-data", dataset, "--data", str(root), *map(str, arguments)]
    return subprocess.Popen(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Tests that run in the background of a script inherit that Ctrl-C is ignored; a user's terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )


def check(*arguments, **where):
    process = start(*arguments, **where)
    output, _ = process.communicate(timeout=120)
    assert "Traceback" not in output, output
    return process.returncode, output


def report(folder, dataset="ssv2"):
    return json.loads((folder / f"results/data/{dataset}.json").read_text())


@pytest.fixture
def whole(tiny_ssv2, tmp_path):
    root = shutil.copytree(tiny_ssv2, tmp_path / "my data")
    (root / "manifest.json").write_text(json.dumps({"counts": {"train": 36, "validation": 9}}))
    return root


def test_a_whole_dataset_has_no_fault(whole, tmp_path):
    code, output = check(whole, cwd=tmp_path)
    assert code == 0 and "no fault found" in output, output
    assert "train: 36 clips annotated as expected, 36 can be used" in output
    assert "3 classes of 12 clips" in output
    found = report(tmp_path)
    assert found["files"]["files"] == 45 and found["files"]["frames"] == 450
    assert found["splits"]["validation"]["classes"]["counts"] == {
        "Pushing something left": 3, "Pushing something right": 3, "Holding something": 3,
    }  # fmt: skip


@pytest.fixture
def faulty(whole):
    videos = whole / "videos"
    (videos / "1.webm").unlink()
    (videos / "2.webm").write_bytes(b"")
    (videos / "3.webm").write_bytes((videos / "3.webm").read_bytes()[:900])
    (videos / "4.webm").write_text("<html>404</html>" * 100)
    write_video(videos / "5.webm", np.zeros((3, 24, 32, 3), np.uint8))
    write_video(videos / "stray.webm", np.zeros((3, 24, 32, 3), np.uint8))
    shutil.copy(videos / "6.webm", videos / "7.webm.part")
    rows = json.loads((whole / SSV2.format("validation")).read_text())
    rows[8]["template"] = "Eating [something]"
    (whole / SSV2.format("validation")).write_text(json.dumps(rows[:-2] + rows[-1:]))
    return whole


EXPECTED = {
    "train": {"missing": {"1"}, "invalid": set(), "unreadable": {"2", "3", "4"}, "short": {"5"}},
    "validation": {"missing": set(), "invalid": {"45"}, "unreadable": set(), "short": set()},
}


def names(found):
    return {
        split: {kind: set(names) for kind, names in part["faults"].items()} for split, part in found["splits"].items()
    }


@pytest.mark.parametrize("quick", [[], ["--quick"]], ids=["decoding", "quick"])
def test_every_planted_fault_is_found_and_no_other(faulty, tmp_path, quick):
    code, output = check(faulty, "ssv2", "--workers", 2, *quick, cwd=tmp_path)
    found = report(tmp_path)
    assert code == 1 and "9 faults found" in output, output
    assert names(found) == EXPECTED
    assert [Path(path).name for path in found["unlisted"]] == ["44.webm", "stray.webm"]
    assert found["splits"]["validation"]["listed"] == 8 and found["splits"]["validation"]["expected"] == 9
    assert found["splits"]["train"]["faults"]["unreadable"]["2"] == "empty file (0 bytes)"
    assert "9 expected" in output and "45 (class 'Eating something' is not in the list of labels)" in output


def test_frames_damaged_in_the_middle_are_found_by_decoding_alone(whole, tmp_path):
    path = whole / "videos" / "3.webm"
    content = bytearray(path.read_bytes())
    import av

    with av.open(str(path)) as container:
        packet = bytes([packet for packet in container.demux(video=0) if packet.size][6])
    place = bytes(content).index(packet)
    content[place : place + len(packet)] = bytes(len(packet))
    path.write_bytes(content)
    assert check(whole, "ssv2", "--quick", cwd=tmp_path)[0] == 0
    assert check(whole, cwd=tmp_path)[0] == 1
    assert names(report(tmp_path))["train"]["unreadable"] == {"3"}


def test_a_repaired_file_is_looked_at_again_and_no_other(whole, tmp_path):
    check(whole, cwd=tmp_path)
    good = (whole / "videos" / "3.webm").read_bytes()
    (whole / "videos" / "3.webm").write_bytes(b"")
    code, output = check(whole, cwd=tmp_path)
    assert code == 1 and "decoding: 1 file" in output
    (whole / "videos" / "3.webm").write_bytes(good)
    code, output = check(whole, cwd=tmp_path)
    assert code == 0 and "decoding: 1 file" in output
    code, output = check(whole, cwd=tmp_path)
    assert code == 0 and "decoding" not in output


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_an_interrupted_check_goes_on(faulty, tmp_path, how):
    for number in range(8, 40):  # long enough to be interrupted
        write_video(faulty / "videos" / f"{number}.webm", np.zeros((400, 48, 64, 3), np.uint8))
    process = start(faulty, "ssv2", "--workers", 2, cwd=tmp_path)
    record = tmp_path / "results/inspected/ssv2.jsonl"
    deadline = time.monotonic() + 60
    while not record.exists() or record.read_text().count("\n") < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(how)
    output, _ = process.communicate(timeout=60)
    if how == signal.SIGINT:
        assert process.returncode == 130 and "the same command goes on there" in output, output
    done = record.read_text().count("\n")
    assert 3 <= done < 42
    code, output = check(faulty, "ssv2", "--workers", 2, cwd=tmp_path)
    assert code == 1 and f"decoding: {42 - done} files" in output
    assert names(report(tmp_path)) == EXPECTED


def test_wrong_words_and_folders(tmp_path):
    code, output = check(tmp_path / "absent", cwd=tmp_path)
    assert code == 1 and "no such folder" in output and "something-something-v2-" in output
    code, output = check(tmp_path, "k400", "--layout", "lists", cwd=tmp_path)
    assert code == 1 and "unknown layout 'lists'; did you mean 'list'" in output
    code, output = check(tmp_path, "thumos", cwd=tmp_path)
    assert code == 1 and "unknown dataset 'thumos'" in output


@pytest.mark.parametrize("content", ["", '{"counts": {"train": "many"}}'])
def test_a_damaged_note_of_what_was_rendered_is_named(content, whole, tmp_path):
    (whole / "manifest.json").write_text(content)
    code, output = check(whole, cwd=tmp_path)
    assert code == 1 and f"{whole}/manifest.json: " in output and "Traceback" not in output, output
