"""The house as docs/architecture.md draws it: who imports whom, how many files, one name for one class."""

import ast
import re
import statistics
import subprocess
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest
from importlinter.cli import lint_imports

from tada.base.files import PROJECT

FILES_AT_THE_TOP, FILES_IN_ALL, MEDIAN_LINES, MOST_LINES = 5, 143, 90, 450


@pytest.fixture(scope="module")
def sources() -> dict[Path, str]:
    """Every Python file of the project but for its tests, and its text."""
    tracked = subprocess.run(["git", "ls-files", "*.py"], cwd=PROJECT, capture_output=True, text=True, check=False)
    listed = [Path(line) for line in tracked.stdout.splitlines()]
    listed = listed or [path.relative_to(PROJECT) for path in PROJECT.glob("*/**/*.py") if ".venv" not in path.parts]
    return {path: (PROJECT / path).read_text(encoding="utf-8") for path in listed if path.parts[0] != "tests"}


def test_rooms_import_downwards_only(capsys, monkeypatch):
    monkeypatch.chdir(PROJECT)
    status = lint_imports(no_cache=True, no_logo=True)
    assert status == 0, capsys.readouterr().out


def test_no_circle_of_imports():
    graph = grimp.build_graph("tada", cache_dir=None, exclude_type_checking_imports=True)
    imported = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imported).prepare()  # a circle is a CycleError that names it


def test_few_files_of_readable_length(sources):
    lines = {path: text.count("\n") for path, text in sources.items()}
    at_the_top = [path for path in lines if path.parent == Path("tada")]
    assert len(at_the_top) <= FILES_AT_THE_TOP, sorted(map(str, at_the_top))
    assert len(lines) <= FILES_IN_ALL
    assert statistics.median(lines.values()) > MEDIAN_LINES
    assert [str(path) for path, count in lines.items() if count > MOST_LINES] == []


def test_no_two_public_classes_share_a_name(sources):
    places = defaultdict(list)
    for path, text in sources.items():
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(path))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_the_page_draws_every_room(sources):
    """docs/architecture.md names each package, and no other."""
    page = (PROJECT / "docs/architecture.md").read_text(encoding="utf-8")
    rooms = {str(path.parent) for path in sources if path.parts[0] == "tada"}
    drawn = set(re.findall(r"`(tada(?:/[a-z]+)*)/`", page))
    assert rooms == drawn
