import csv

import numpy as np

from tada.data.mini.rendering import RenderSpec, write_csv, write_video
from tada.data.video.random_access import Video


def test_places_are_those_of_the_videos_of_each_split():
    assert RenderSpec(train=2, validation=1).places() == [("train", 0), ("train", 1), ("validation", 0)]


def test_randomness_depends_on_seed_split_and_place_alone():
    def drawn(seed, *place):
        return RenderSpec(seed=seed, texture=0.1 * seed).rng(*place).random()

    assert drawn(5, "validation", 7) == np.random.default_rng((5, 1, 7)).random()
    assert drawn(5, "train") == np.random.default_rng((5, 0)).random()
    others = [(5, "train", 7), (5, "validation", 8), (6, "validation", 7), (5, "validation")]
    assert len({drawn(5, "validation", 7), *(drawn(*other) for other in others)}) == 5


def test_rows_are_written_with_and_without_quotes(tmp_path):
    path, rows = tmp_path / "rows.csv", [("one, two", 3), ("wört", 0.5)]
    write_csv(path, ("name", "number"), rows)
    assert path.read_bytes() == 'name,number\n"one, two",3\nwört,0.5\n'.encode()
    write_csv(path, ("name", "number"), rows, quote_texts=True)
    assert path.read_bytes() == '"name","number"\n"one, two",3\n"wört",0.5\n'.encode()
    with path.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["name", "number"], ["one, two", "3"], ["wört", "0.5"]]


def test_videos_hold_the_frames_that_were_written(tmp_path):
    frames = np.repeat(np.linspace(40, 200, 9).astype(np.uint8)[:, None, None, None], 3, 3)
    frames = np.broadcast_to(frames, (9, 32, 48, 3))
    for suffix in (".webm", ".mp4"):
        write_video(tmp_path / f"video{suffix}", frames, fps=10, keyframe_every=4)
        video = Video(tmp_path / f"video{suffix}")
        assert (video.info.frames, video.info.fps) == (9, 10)
        assert np.abs(video.read(range(9)).astype(int) - frames).max() <= 6
