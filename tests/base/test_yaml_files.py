from pathlib import Path

import pytest
import yaml

from tada.base import TadaError, counted, files, unknown
from tada.base.yaml_files import load_yaml, parse_yaml, read_yaml, validate
from tada.data.catalog import NAMES
from tada.runs.settings import Scale

CONFIG = yaml.safe_load((files.CONFIG / "config.yaml").read_text())


def test_committed_files_are_valid():
    load_yaml(files.CONFIG / "config.yaml", "config", NAMES)
    load_yaml(files.CONFIG / "recipes" / "mini.yaml", "recipes", NAMES)


def test_typo_names_file_key_and_nearest_key():
    with pytest.raises(TadaError, match=r"config\.yaml: unknown key 'seed'; did you mean 'seeds'\?"):
        validate({**CONFIG, "seed": 3}, "config", where="config.yaml", names=NAMES)


def test_typo_deep_inside_names_its_path():
    recipes = yaml.safe_load((files.CONFIG / "recipes" / "mini.yaml").read_text())
    recipes["ssv2"]["train"]["warmup_epoch"] = 1
    with pytest.raises(TadaError, match=r"mini\.yaml: ssv2\.train: unknown key 'warmup_epoch'.*'warmup_epochs'"):
        validate(recipes, "recipes", where="mini.yaml", names=NAMES)


def test_unknown_dataset_in_recipes_is_named():
    with pytest.raises(TadaError, match="unknown key 'ssv3'; did you mean 'ssv2'"):
        validate({"ssv3": {}}, "recipes", where="mini.yaml", names=NAMES)


@pytest.mark.parametrize("keys", [("hacs-localization", "videos"), ("ek100", "train", "initial")])
def test_unknown_dataset_deep_inside_is_named(keys):
    recipes = yaml.safe_load((files.CONFIG / "recipes" / "mini.yaml").read_text())
    holder = recipes
    for key in keys[:-1]:
        holder = holder[key]
    for name, nearest in (("k40", "k400"), ("hasc", "hacs")):
        holder[keys[-1]] = name
        with pytest.raises(TadaError, match=rf"{'[.]'.join(keys)}: unknown value '{name}'; did you mean '{nearest}'"):
            validate(recipes, "recipes", where="mini.yaml", names=NAMES)


def test_initial_weights_are_those_of_a_file_or_of_a_dataset():
    recipes = yaml.safe_load((files.CONFIG / "recipes" / "mini.yaml").read_text())
    recipes["k400"]["train"]["initial"] = "imagnet"
    with pytest.raises(TadaError, match=r"k400\.train\.initial: unknown value 'imagnet'; did you mean 'imagenet'"):
        validate(recipes, "recipes", where="mini.yaml", names=NAMES)


def test_names_that_a_schema_leaves_open_have_to_be_given():
    with pytest.raises(TadaError, match="unknown key 'ssv2'"):
        validate({"ssv2": {}}, "recipes", where="mini.yaml")


def test_wrong_value_names_the_nearest():
    with pytest.raises(TadaError, match=r"scale: unknown value 'papers'; did you mean 'paper'\?"):
        validate({**CONFIG, "scale": "papers"}, "config", where="config.yaml", names=NAMES)


def test_all_faults_are_told_at_once():
    with pytest.raises(TadaError) as error:
        validate({**CONFIG, "seeds": 0, "scael": "mini"}, "config", where="config.yaml", names=NAMES)
    assert len(str(error.value).splitlines()) == 2


def test_missing_and_broken_files(tmp_path: Path):
    (tmp_path / "mini.yaml").write_text("a: [")
    with pytest.raises(TadaError, match="did you mean 'mini'"):
        load_yaml(tmp_path / "mimi.yaml", "recipes")
    with pytest.raises(TadaError, match=r"mini\.yaml: not valid YAML"):
        load_yaml(tmp_path / "mini.yaml", "recipes")


def test_nothing_near_lists_all_names():
    assert str(unknown("scale", Scale.GPU, [Scale.MINI])) == "unknown scale 'gpu'; valid names: mini."
    assert str(unknown("scale", "zzz", ["paper", "mini"])) == "unknown scale 'zzz'; valid names: mini, paper."


def test_where_there_are_no_names_it_says_why(tmp_path):
    assert str(unknown("run", "zzz", [], none="nothing has run")) == "unknown run 'zzz'; nothing has run"
    assert str(unknown("key", "zzz", [], where="a.yaml: b")) == "a.yaml: b: unknown key 'zzz'; no key is expected there"
    with pytest.raises(TadaError, match=r"unknown file 'a'; no \.yaml files lie there"):
        load_yaml(tmp_path / "a.yaml", "recipes")
    with pytest.raises(TadaError, match="unknown file 'a'; there is no such folder"):
        load_yaml(tmp_path / "nowhere/a.yaml", "recipes")
    (tmp_path / "mini.yaml").write_text("{}")
    with pytest.raises(TadaError, match=r"mini\.yaml: .* should be non-empty"):
        load_yaml(tmp_path / "mini.yaml", "recipes")


def test_numbers_of_things():
    said = counted(1, "run"), counted(0, "run"), counted(1200, "class", "classes"), counted(1, "run is", "runs are")
    assert said == ("1 run", "0 runs", "1,200 classes", "1 run is")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: {c: 1, c: 2}", r"the key 'c' stands twice, first in line 2.*line 2"),
        ("a: .nan", r"f\.yaml: a: nan is no finite number"),
        ("a: {b: [1, .inf]}", r"f\.yaml: a\.b\.1: inf is no finite number"),
        ("16: 1", r"f\.yaml: the key 16 has to be text"),
        ("a: &a [*a]", r"f\.yaml: contains itself"),
        ("a: " + "[" * 5000, r"f\.yaml: not valid YAML"),
        ("a: 2021-99-99", r"f\.yaml: not valid YAML: month must be in 1\.\.12"),
    ],
)
def test_what_yaml_allows_and_nobody_means(text, message):
    with pytest.raises(TadaError, match=message):
        parse_yaml(text, "f.yaml")


def test_a_key_may_be_written_over_one_that_is_merged_in():
    assert parse_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: {<<: *a}", "f") == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 3, "y": 2},
        "c": {"x": 1, "y": 2},
    }


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "utf-32"])
def test_files_in_other_encodings_are_named(tmp_path, encoding):
    (tmp_path / "config.yaml").write_bytes("scale: mini  # für alle".encode(encoding))
    with pytest.raises(TadaError, match=r"config\.yaml: not UTF-8 text"):
        read_yaml(tmp_path / "config.yaml")
    (tmp_path / "config.yaml").write_bytes(
        b"\xef\xbb\xbfscale: mini"
    )  # with a mark of its order, as some editors write
    assert read_yaml(tmp_path / "config.yaml") == {"scale": "mini"}


@pytest.mark.parametrize("value", [10.0, True, "10", 10**12, -1, None, [10]])
def test_a_count_is_a_whole_number(value):
    with pytest.raises(TadaError, match=r"config\.yaml: seeds"):
        validate({**CONFIG, "seeds": value}, "config", where="config.yaml", names=NAMES)
