from pathlib import Path

import numpy as np
import pytest

from tada.data.clips import Clip, Split
from tada.data.mini.rendering import write_video


@pytest.fixture(scope="session")
def frames_of():
    """The frames that the files of `video_files` were written from: the n-th is brighter by 20n, its bar moves on."""

    def frames(number: int, count: int = 24) -> np.ndarray:
        content = np.full((count, 36, 64, 3), 30 + 20 * number, np.uint8)
        for index in range(count):
            content[index, :, 2 * index : 2 * index + 6] = 250
        return content

    return frames


@pytest.fixture(scope="session")
def video_files(tmp_path_factory, frames_of) -> list[Path]:
    """Six videos of 20 to 25 frames, WebM and mp4."""
    folder = tmp_path_factory.mktemp("videos")
    files = [folder / f"{number}.{'mp4' if number % 3 == 2 else 'webm'}" for number in range(6)]
    for number, file in enumerate(files):
        write_video(file, frames_of(number, 20 + number))
    return files


@pytest.fixture
def split(video_files) -> Split:
    return Split("train", tuple(Clip(path.stem, path, index % 3) for index, path in enumerate(video_files)))


@pytest.fixture
def damaged_split(tmp_path, split) -> Split:
    """The split with an empty and a truncated file, and one that has gone."""
    paths = {name: tmp_path / f"{name}.webm" for name in ("empty", "cut", "gone")}
    paths["empty"].touch()
    whole = split.clips[0].path.read_bytes()
    paths["cut"].write_bytes(whole[: len(whole) // 2])
    bad = [Clip(name, path, 1) for name, path in paths.items()]
    return Split("train", (split.clips[0], bad[0], *split.clips[1:4], *bad[1:], *split.clips[4:]))
