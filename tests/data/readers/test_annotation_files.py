"""Annotation files as editors and spreadsheets of any system write them."""

import json

import pytest

from tada.base import TadaError
from tada.data.catalog import Place, read
from tada.data.readers import read_annotations, read_text, rows

TEXT = 'id,name\n1,"café, \u4e2d"\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_unicode_is_read_with_any_mark_and_line_ends(tmp_path, encoding, ends):
    path = tmp_path / "a.csv"
    path.write_bytes(TEXT.replace("\n", ends).encode(encoding))
    assert rows(path, ("id", "name")) == [{"id": "1", "name": "café, \u4e2d"}]
    path.write_bytes(json.dumps({"a": "é"}, ensure_ascii=False).encode(encoding))
    assert read_annotations(path) == {"a": "é"}


def test_other_encodings_are_one_clear_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("id,name\n1,café\n".encode("latin-1"))
    for reader in (read_text, read_annotations, lambda path: rows(path, ("id",))):
        with pytest.raises(TadaError, match=r"a\.csv: neither UTF-8 nor UTF-16, from byte 13 on; save it as UTF-8$"):
            reader(path)
    with pytest.raises(TadaError, match=r"absent\.csv: no such file"):
        read_text(tmp_path / "absent.csv")
    with pytest.raises(TadaError, match=r"cannot be read"):
        read_text(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_datasets_in_other_encodings(tiny_ssv2, tiny_k400, tiny_ek100, tmp_path, encoding):
    for dataset, root in (("ssv2", tiny_ssv2), ("k400", tiny_k400), ("ek100", tiny_ek100)):
        folder = tmp_path / dataset
        folder.mkdir()
        for path in [*root.glob("*.json"), *root.glob("*.csv")]:
            content = path.read_text(encoding="utf-8")
            if path.name.endswith(("train.csv", "train.json")) and encoding == "latin-1":
                content = content.replace("video", "vidéo").replace("bar", "bär")
            (folder / path.name).write_bytes(content.encode(encoding))
        for entry in root.iterdir():
            if entry.is_dir() and not entry.name.startswith("."):
                (folder / entry.name).symlink_to(entry)
        if encoding == "latin-1" and dataset != "k400":
            with pytest.raises(TadaError, match=rf"{dataset}/.*train.*: neither UTF-8 nor UTF-16"):
                read(dataset, Place(folder))
        else:
            assert len(read(dataset, Place(folder)).train.clips) == len(read(dataset, Place(root)).train.clips)


def test_suffixes_in_capitals(tiny_ssv2, tmp_path):
    for path in tiny_ssv2.glob("*.json"):
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "videos").mkdir()
    for path in (tiny_ssv2 / "videos").iterdir():
        (tmp_path / "videos" / path.name.replace("webm", "WEBM")).symlink_to(path)
    assert len(read("ssv2", Place(tmp_path)).train.clips) == 36
