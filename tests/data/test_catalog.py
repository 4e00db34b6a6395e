"""The catalog agrees with readers, renderers, recipes and paper, and is loaded without them."""

import inspect
import re
import subprocess
import sys

import pytest

from tada.base import TadaError
from tada.data.catalog import DATASETS, NAMES, RECIPES, Dataset, find, localization_of
from tada.runs.recipes import load_recipe, recipe_sources
from tada.runs.settings import Scale


@pytest.mark.slow
def test_the_catalog_loads_nothing_heavy():
    code = "import sys; import tada.data.catalog; print({'torch', 'numpy', 'pandas', 'av'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


@pytest.mark.parametrize("name", DATASETS)
def test_entries_name_what_is_there(name):
    entry = find(name)
    reader = entry.load_reader()
    options = list(inspect.signature(reader.read).parameters)
    assert options[:3] == ["root", "annotations", "videos"]
    assert ("layout" in options) == bool(entry.layouts)
    assert reader.EXPECTED.startswith("expected there:")
    assert callable(entry.load_renderer())
    if entry.localization:
        assert all(callable(getattr(reader, part)) for part in ("read_annotated", "durations", "video_name"))
        assert hasattr(reader, "disagreement") or not entry.localization.exact_durations


def test_classes_and_names_are_those_of_the_paper_s_recipes():
    assert set(recipe_sources()) == set(RECIPES) == set(NAMES["recipe"])
    for entry in DATASETS.values():
        for recipe in entry.recipes:
            assert load_recipe(Scale.PAPER, recipe, "tada2d").classes == entry.classes
            assert load_recipe(Scale.PAPER, recipe, "tada2d").videos == entry.name


def test_official_counts():
    """As published; the official evaluations of HACS count videos, so that a plan does, too."""
    assert {name: entry.validation_size for name, entry in DATASETS.items()} == {
        "ssv2": 24_777,
        "k400": 19_906,
        "ek100": 9_668,
        "hacs": 5_981,
    }
    assert Dataset("jester", "Jester", 27, "tada.data.readers.jester").validation_size == 0


def test_labels_and_names_by_their_number():
    assert find("ek100").labels == {"verb": 97, "noun": 300}
    assert find("hacs").labels == {"label": 200}
    assert NAMES["one_label"] == ("ssv2", "k400", "hacs")
    assert RECIPES == ("ssv2", "k400", "ek100", "ek100-localization", "hacs", "hacs-localization")


@pytest.mark.slow
@pytest.mark.parametrize(("command", "names"), [("render", DATASETS), ("check-data", DATASETS), ("run", RECIPES)])
def test_help_names_them_all(command, names):
    printed = subprocess.check_output([sys.executable, "-m", "tada", command, "--help"], text=True)
    assert set(names) <= set(re.findall(r"[a-z0-9-]+", printed))


def test_faults_are_named():
    with pytest.raises(TadaError, match="unknown dataset 'k40'; did you mean 'k400'"):
        find("k40")
    with pytest.raises(TadaError, match="unknown dataset 'hasc'; did you mean 'hacs'"):
        localization_of("hasc")
    with pytest.raises(TadaError, match="k400: not annotated for localization; annotated: ek100, hacs"):
        localization_of("k400")
    with pytest.raises(TadaError, match="jester: there is no mini version of this dataset"):
        Dataset("jester", "Jester", 27, "tada.data.readers.jester").load_renderer()
