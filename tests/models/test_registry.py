"""How entries of models.yaml extend each other."""

import subprocess
import sys

import pytest

from tada.base import TadaError
from tada.models.registry import merge, model_names, model_options


def test_entries_extend_others_and_circles_are_named(tmp_path):
    (tmp_path / "models.yaml").write_text(
        "a: {network: resnet, tada: {kernels: [3], proportion: 0.5}}\n"
        "b: {extends: a, tada: {proportion: 1}}\n"
        "c: {extends: d}\n"
        "d: {extends: c}\n"
        "e: {extends: bb}\n"
    )
    assert model_names(tmp_path) == ["a", "b", "c", "d", "e"]
    assert model_options("b", tmp_path) == {"network": "resnet", "tada": {"kernels": [3], "proportion": 1}}
    with pytest.raises(TadaError, match="c extends d extends c, which is a circle"):
        model_options("c", tmp_path)
    with pytest.raises(TadaError, match="e: extends: unknown model 'bb'"):
        model_options("e", tmp_path)


def test_a_typo_names_file_and_key(tmp_path):
    (tmp_path / "models.yaml").write_text("a: {network: resnet, tada: {proportoin: 0.5}}\n")
    with pytest.raises(TadaError, match=r"models.yaml: a.tada: unknown key 'proportoin'; did you mean 'proportion'"):
        model_names(tmp_path)


def test_merging_replaces_what_is_no_mapping():
    base = {"depth": [3, 4, 6, 3], "tada": {"stages": [2, 3]}}
    assert merge(base, {"depth": (1, 1, 1, 1), "tada": None}) == {"depth": [1, 1, 1, 1], "tada": None}
    assert merge({"tada": None}, {"tada": {"stages": [2]}}) == {"tada": {"stages": [2]}}
    assert base == {"depth": [3, 4, 6, 3], "tada": {"stages": [2, 3]}}


def test_definitions_are_read_without_torch():
    code = "import sys, tada.models as m; m.model_options('tada2d'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
