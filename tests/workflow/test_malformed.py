"""Malformed settings and specs: whatever value of a YAML file is made wrong, it is refused, with file and key."""

import copy
import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tada.base import TadaError, files
from tada.cluster.jobs import load_cluster
from tada.models.registry import model_names, model_options
from tada.report.paper import about_paper
from tada.report.paper.figures import load_figure
from tada.report.paper.sentences import load_audit, load_claims
from tada.report.paper.tables import Paper, load_table
from tada.runs import recipes

PAPER, CONFIG = files.PAPER, files.CONFIG
Place = tuple[Any, ...]


def models(folder: Path) -> None:
    for name in model_names(folder):
        model_options(name, folder)
    recipes.network_sources(folder)


READERS: dict[str, tuple[Path, Callable[[Path], Any]]] = {
    "config.yaml": (CONFIG, lambda folder: recipes.check_config(recipes.read_yaml(folder / "config.yaml"), CONFIG)),
    "models.yaml": (CONFIG, models),
    "released.yaml": (CONFIG, recipes.released_checkpoints),
    "recipes/mini.yaml": (CONFIG, lambda folder: recipes.load_recipe("mini", "ssv2", "tsn", folder)),
    "recipes/paper.yaml": (CONFIG, lambda folder: recipes.load_recipe("paper", "ssv2", "tsn", folder)),
    "cluster.yaml": (files.PROJECT / "profiles/slurm", lambda folder: load_cluster(folder / "cluster.yaml")),
    "paper.yaml": (PAPER, about_paper),
    "claims.yaml": (PAPER, lambda folder: load_claims(folder / "claims.yaml")),
    "audit.yaml": (PAPER, lambda folder: load_audit(folder / "audit.yaml", Paper())),
    **{
        f"tables/{path.name}": (PAPER, lambda folder, name=path.stem: load_table(name, folder / "tables"))
        for path in sorted((PAPER / "tables").glob("*.yaml"))
        if "include" not in path.read_text()
    },
    **{
        f"figures/{path.name}": (PAPER, lambda folder, name=path.stem: load_figure(name, folder / "figures"))
        for path in sorted((PAPER / "figures").glob("*.yaml"))
    },
}
JUNK: dict[type, list[Any]] = {
    str: [float("nan"), 7, [1], {"x": 1}, True],
    bool: ["hello", 3, [True], {"x": 1}],
    int: ["hello", float("nan"), float("inf"), 10**15, [1], {"x": 1}, True],
    float: ["hello", float("nan"), float("-inf"), 1e15, [1], {"x": 1}, True],
    type(None): [float("nan"), [1], {"x": 1}],
    list: ["hello", 7, {"x": 1}, float("nan")],
    dict: [7, [1], True],
}
NUMBERS = itertools.count()


def values(content: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Every value of a file and its place, containers included; not what a release or the text says instead, which
    may be anything."""
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, part in items:
        if key in ("first", "later") or (place and place[-1] == "text"):
            continue
        yield (*place, key), part
        yield from values(part, (*place, key))


def with_junk(content: Any, place: Place, junk: Any) -> Any:
    content = copy.deepcopy(content)
    holder = content
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = junk
    return content


@pytest.mark.parametrize("name", READERS)
@settings(phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_wrong_value_is_accepted(name, data, tmp_path_factory):
    source, read = READERS[name]
    content = yaml.safe_load((source / name).read_text())
    place, right = data.draw(st.sampled_from(list(values(content))), label="place")
    junk = data.draw(st.sampled_from(JUNK[type(right)]), label="junk")
    folder = tmp_path_factory.getbasetemp() / f"malformed{next(NUMBERS)}"
    shutil.copytree(CONFIG if source == CONFIG else source, folder) if source == CONFIG else folder.mkdir()
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(yaml.safe_dump(with_junk(content, place, junk), allow_unicode=True, sort_keys=False))
    try:
        read(folder)
    except TadaError as error:
        message = str(error)
        assert Path(name).name in message or "config.yaml" in message, message
        assert len(message.splitlines()[0]) < 1000, message
    else:
        pytest.fail(f"{name}: {'.'.join(map(str, place))}: {junk!r} was accepted in the place of {right!r}")
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("junk", ["hello", ["1.3", "hello"], "1.3 or so"])
def test_a_printed_number_that_is_none_is_refused(junk, tmp_path):
    content = yaml.safe_load((PAPER / "audit.yaml").read_text())
    (tmp_path / "audit.yaml").write_text(yaml.safe_dump(with_junk(content, ("numbers", 8, "printed"), junk)))
    with pytest.raises(TadaError, match=r"audit\.yaml: .*numbers\.8\.printed"):
        load_audit(tmp_path / "audit.yaml", Paper())
