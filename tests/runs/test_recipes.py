"""What the precision of the test does to a recipe and its signature."""

import shutil

import pytest
import yaml

from tada.base.errors import TadaError
from tada.runs import recipes


@pytest.fixture
def with_precision(tiny_config, tmp_path):
    """A config folder whose Something-Something-V2 is tested in a precision; without any if that is None."""

    def folder(precision):
        place = shutil.copytree(tiny_config, tmp_path / str(precision))
        content = yaml.safe_load((place / "recipes/mini.yaml").read_text())
        if precision is not None:
            content["ssv2"]["test"]["precision"] = precision
        (place / "recipes/mini.yaml").write_text(yaml.safe_dump(content))
        return place

    return folder


def test_the_default_precision_leaves_signatures_as_they_were(with_precision):
    resolved = [recipes.resolved("mini", "ssv2", "tada2d", with_precision(name)) for name in (None, "float32")]
    assert resolved[0] == resolved[1]
    assert resolved[0]["recipe"]["test"] == {"clips": 2, "crops": 3, "short_side": 20, "crop": 20}


def test_another_precision_is_another_run(with_precision):
    folders = [with_precision(name) for name in ("float32", "bfloat16", "float16")]
    assert len({recipes.signature(recipes.resolved("mini", "ssv2", "tada2d", folder)) for folder in folders}) == 3
    assert [recipes.load_recipe("mini", "ssv2", "tada2d", f).test.precision for f in folders][1:] == [
        "bfloat16",
        "float16",
    ]
    assert len({recipes.signature(recipes.resolved("mini", "k400", "tada2d", folder)) for folder in folders}) == 1


def test_an_unknown_precision_is_answered_with_the_nearest(with_precision):
    with pytest.raises(TadaError, match=r"ssv2\.test\.precision: unknown value 'bfloat'; did you mean 'bfloat16'"):
        recipes.load_recipe("mini", "ssv2", "tada2d", with_precision("bfloat"))
