"""Videos whose frames carry their numbers, in all kinds of files that users have."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import pytest

CELLS, CELL, BITS = 4, 16, 9
CORNER = {0: 1, 1: 1, 2: 0, 3: 0, 4: 0, 15: 0}
"""Cells that are always white or black: turned or mirrored, a picture has no number."""


def drawn(number: int, size: int = CELLS * CELL) -> np.ndarray:
    """A square picture of 4 x 4 cells, black or white, that say its number; uint8 [size, size, 3]."""
    cells = np.zeros(CELLS * CELLS)
    for cell, value in CORNER.items():
        cells[cell] = value
    bits = [number >> bit & 1 for bit in range(BITS)]
    cells[5 : 5 + BITS], cells[14] = bits, sum(bits) % 2
    picture = np.kron(cells.reshape(CELLS, CELLS), np.ones((size // CELLS, size // CELLS)))
    return np.repeat((20 + 215 * picture).astype(np.uint8)[..., None], 3, axis=2)


def number(picture: np.ndarray) -> int:
    """The number that a picture carries; -1 where it is grey, patched, turned or mirrored."""
    size = picture.shape[0] // CELLS
    cells = picture.astype(float).mean(2).reshape(CELLS, size, CELLS, size)[:, 4:-4, :, 4:-4].mean((1, 3)).ravel()
    white = cells > 127
    bits = white[5 : 5 + BITS]
    clear = (np.abs(cells - 127) > 60).all() and all(white[cell] == value for cell, value in CORNER.items())
    return int(bits @ (1 << np.arange(BITS))) if clear and white[14] == bits.sum() % 2 else -1


@dataclass(frozen=True)
class Kind:
    """How a video is encoded: FFmpeg's names."""

    suffix: str
    codec: str
    options: dict[str, str] = field(default_factory=dict)
    rotation: tuple[int, bool, bool] = (0, False, False)  # counterclockwise in degrees; mirrored in columns, in rows

    def encoded(self, numbers: Iterable[int], container, size: int = CELLS * CELL):
        """A new stream of a container, and its packets one by one."""
        stream = container.add_stream(self.codec, rate=25, options=self.options)
        stream.height, stream.width, stream.pix_fmt = size, size, "yuv420p"
        if self.rotation != (0, False, False):
            stream.set_display_rotation(self.rotation[0], hflip=self.rotation[1], vflip=self.rotation[2])
        return stream, self._packets(stream, numbers, size)

    def _packets(self, stream, numbers, size):
        for index, value in enumerate(numbers):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(self._stored(drawn(value, size))), format="rgb24")
            frame.pts = index
            yield from stream.encode(frame)
        yield from stream.encode()

    def _stored(self, picture: np.ndarray) -> np.ndarray:
        """What has to be stored for `picture` to be shown: the display undone."""
        turn, mirrored, upside_down = self.rotation
        turned = picture[:, ::-1] if mirrored else picture
        turned = turned[::-1] if upside_down else turned
        return np.rot90(turned, -turn // 90)

    def write(self, path: Path, frames: int = 100) -> Path:
        """The video of frames 0, 1, ..., 25 a second."""
        path = path.with_suffix(f".{self.suffix}")
        with av.open(str(path.absolute()), "w") as container:
            for packet in self.encoded(range(frames), container)[1]:
                container.mux(packet)
        return path


def x264(suffix: str, **params: int) -> Kind:
    """H.264 with x264's own parameters."""
    given = {"keyint": 20, "scenecut": 0, "bframes": 3, "b-adapt": 0, **params}
    joined = ":".join(f"{key.replace('_', '-')}={value}" for key, value in given.items())
    return Kind(suffix, "libx264", {"preset": "veryfast", "x264-params": joined})


def x265(suffix: str, **params: int) -> Kind:
    """HEVC with x265's own parameters."""
    given = {"keyint": 20, "scenecut": 0, "bframes": 3, **params}
    joined = ":".join(f"{key.replace('_', '-')}={value}" for key, value in given.items())
    return Kind(suffix, "libx265", {"preset": "ultrafast", "x265-params": f"{joined}:log-level=none"})


KINDS = {
    "x264 closed": x264("mp4"),
    "x264 closed in mkv": x264("mkv"),
    "x264 open": x264("mp4", open_gop=1),
    "x264 open in mkv": x264("mkv", open_gop=1),
    "x264 in avi": x264("avi"),
    "x264 open in avi": x264("avi", open_gop=1),
    "x264 no B-frames in avi": x264("avi", bframes=0),
    "x264 intra refresh": x264("mp4", bframes=0, intra_refresh=1),
    "x265": x265("mp4"),
    "x265 open": x265("mp4", open_gop=1),
    "x265 open in mkv": x265("mkv", open_gop=1),
    "mpeg4 B-frames": Kind("mp4", "mpeg4", {"g": "20", "bf": "2"}),
    "mpeg4 B-frames in mkv": Kind("mkv", "mpeg4", {"g": "20", "bf": "2"}),
    "mpeg4 B-frames in avi": Kind("avi", "mpeg4", {"g": "20", "bf": "2"}),
    "mpeg2 B-frames in mkv": Kind("mkv", "mpeg2video", {"g": "20", "bf": "2"}),
    "vp8": Kind("webm", "libvpx", {"g": "20", "deadline": "realtime", "cpu-used": "8"}),
    "vp9": Kind("webm", "libvpx-vp9", {"g": "20", "deadline": "realtime", "cpu-used": "8"}),
}


@dataclass(frozen=True)
class Numbered:
    """Hands the functions above to tests."""

    kinds: dict[str, Kind] = field(default_factory=lambda: KINDS)
    Kind = Kind
    x264 = staticmethod(x264)
    x265 = staticmethod(x265)

    @staticmethod
    def numbers(pictures: Sequence[np.ndarray]) -> list[int]:
        """What the pictures carry."""
        return [number(picture) for picture in pictures]


@pytest.fixture(scope="session")
def numbered() -> Numbered:
    return Numbered()


@pytest.fixture(scope="session")
def numbered_files(tmp_path_factory, numbered) -> dict[str, Path]:
    """A file of 100 frames of every kind."""
    folder = tmp_path_factory.mktemp("kinds")
    return {name: kind.write(folder / name.replace(" ", "_")) for name, kind in numbered.kinds.items()}
