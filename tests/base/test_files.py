import hashlib

import pytest

from tada.base.files import read_json, replacing, sha256, write_json


def test_json_comes_back_as_it_went(tmp_path):
    write_json(tmp_path / "new" / "a.json", {"α": [1, 2.5, None]})
    assert read_json(tmp_path / "new" / "a.json") == {"α": [1, 2.5, None]}


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    file = tmp_path / "a.json"
    write_json(file, 1)
    with pytest.raises(RuntimeError), replacing(file) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(file) == 1
    assert list(tmp_path.iterdir()) == [file]


def test_nan_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert sha256(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()
