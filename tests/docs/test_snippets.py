"""Every command, Python snippet and setting of README and docs/ is run, planned or checked; what is not says why."""

import os
import re
import shutil
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import targets
import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token
from planting import plant_outcome, plant_record
from typer.main import get_command
from typer.testing import CliRunner

from tada.base.files import CONFIG as CONFIG_FOLDER
from tada.base.files import PROJECT
from tada.cli import app
from tada.report.plan import Wanted
from tada.runs.recipes import check_config, load_recipe
from tada.runs.run import Run

GENERATED = ("docs/found.md",)
PAGES = sorted(
    str(page.relative_to(PROJECT))
    for page in [*PROJECT.glob("*.md"), PROJECT / "config/README.md", *PROJECT.glob("docs/**/*.md")]
)
PROGRAMS = r"(?:tada|snakemake|python3? -m|pip|conda|uv|run|\.ci/\w+)"
COMMAND = re.compile(rf"(?:nice -n 19 )?(?:uv run |~/uv/bin/uv )?{PROGRAMS}\b.* ")
PLACEHOLDER = re.compile(r"\b[A-Z][A-Z_]+\b(?!=)|\.\.\.|<")
"""What a reader is to put something in the place of, so that a command is read for its names and options alone."""

NOT_RUN = {
    r"pip install|uv venv|conda|python3 -m venv": "fetches packages; .ci/installed and tests/test_install.py install",
    r"uv run pytest": "is what runs this",
    r"\.ci/": "needs a network, or is what runs this",
    r"mkdocs build": "tests/docs/test_site.py builds the site",
    r"tada init": "lays out the folders in which all the others run here",
    r"--install-completion": "would change the shell; tests/cli/test_completion.py completes",
    r"--directory \.\.": "is typed in a folder below; tests/workflow/test_snakefile.py types it there",
    r"TADA_PAPER=": "tests/test_extending.py makes a second paper",
    r"snakemake .*--report": "needs pages; tests/workflow/test_all.py makes a report",
    r"(check-data|tada run) own|tada (predict|features|export)": "tests/runs/test_own_videos.py runs each in its order",
    r"tada evaluate-detections": "tests/localization/test_submission.py scores files of both datasets",
    r"tada (snapshot|compare)": "needs trained runs; tests/report/pages/test_collect.py and test_compare.py have them",
    r"tada (publish|import)": "needs finished runs; tests/runs/test_exchange.py packs and takes them",
    r"\btenth\b": "begins with `tada init`; tests/data/mini/test_crowds.py renders as few videos",
    r"python -m benchmarks": "measures for minutes; tests/benchmarks try each on little",
    r"tests/campaign.py": "kills and damages runs for minutes; each kind of fault that it plants has a test of its own",
}
"""Pattern of commands that are only read, and why; of `tada` names and options are checked all the same."""

FAILS = {
    "tada check-data": "the tiny datasets here lack most of the official videos, and that is a fault",
    "tada verify": "the runs planted here have no files beside their records",
}
"""Commands that end with status 1 here, and why."""


@dataclass(frozen=True)
class Snippet:
    """A piece of code on a page; `prints` are the lines that the page shows below it."""

    page: str
    line: int
    language: str
    text: str
    prints: str = ""
    runs: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text.splitlines()[0]}"


def tokens(page: str) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse((PROJECT / page).read_text(encoding="utf-8"))


def blocks(page: str) -> list[Snippet]:
    """Fenced and indented blocks."""
    found: list[Snippet] = []
    for token in tokens(page):
        if token.type not in ("fence", "code_block"):
            continue
        language, _, more = token.info.partition(" ")
        if more == 'title="prints"':
            before = found.pop()
            found.append(Snippet(page, before.line, before.language, before.text, prints=token.content))
        else:
            found.append(Snippet(page, token.map[0] + 1, language, token.content))
    return found


def spans(page: str) -> list[Snippet]:
    """Commands within the text; where they stand in a table whose last column counts runs, with that count."""
    found, row = [], []
    for token in tokens(page):
        if token.type == "tr_open":
            row = []
        codes = [one.content for one in token.children or () if one.type == "code_inline"]
        found += [Snippet(page, token.map[0] + 1, "bash", code) for code in codes if COMMAND.match(f"{code} ")]
        row += [token.content] if token.type == "inline" else []
        if token.type == "tr_close" and len(row) == 3 and row[2].isdigit() and "uv run snakemake" in row[0]:
            last = found.pop()
            found.append(Snippet(page, last.line, "bash", last.text, runs=row[2]))
    return found


BLOCKS = [snippet for page in PAGES if page not in GENERATED for snippet in blocks(page)]
SPANS = [snippet for page in PAGES if page not in GENERATED for snippet in spans(page)]


def commands(snippet: Snippet) -> list[Snippet]:
    """One for each command line."""
    lines = [line for line in snippet.text.replace("\\\n", " ").splitlines() if line.strip()]
    found = [part for line in lines for part in re.split(r"\s+&&\s+", re.sub(r"\s+#.*", "", line))]
    prints = [""] * (len(found) - 1) + [snippet.prints]
    of = zip(found, prints, strict=True)
    return [Snippet(snippet.page, snippet.line, "bash", text, shown, snippet.runs) for text, shown in of]


TYPED = [command for block in BLOCKS if block.language == "bash" for command in commands(block)]
TYPED += [command for span in SPANS if span.text.startswith("uv run ") for command in commands(span)]
TYPED = [command for command in TYPED if not PLACEHOLDER.search(command.text)]


def reason(command: str) -> str | None:
    return next((why for pattern, why in NOT_RUN.items() if re.search(pattern, command)), None)


DISTINCT = {(command.text, command.prints, command.runs): command for command in TYPED}.values()
RUN = [command for command in DISTINCT if reason(command.text) is None]
PLANNED = [command for command in RUN if "snakemake" in command.text]
CALLED = [command for command in RUN if "snakemake" not in command.text]


@pytest.fixture(scope="module")
def stubs(tmp_path_factory) -> Path:
    """Programs that stand for those of the reader: snakemake plans, tada writes down what it was given."""
    folder = tmp_path_factory.mktemp("bin")
    programs = {
        "uv": '[ "$1" = run ] || exit 97\nshift\nwhile [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"',
        "snakemake": f'exec {sys.executable} -m snakemake -n "$@"',
        "tada": 'printf "%s\\n" "$@" > "$TYPED"',
    }
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(stat.S_IRWXU)
    return folder


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Path:
    """A project as `tada init` lays it out."""
    folder = tmp_path_factory.mktemp("fresh")
    done = CliRunner().invoke(app, ["init", str(folder)])
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture(scope="module")
def study(fresh, tmp_path_factory, tiny_ssv2, tiny_k400, tiny_ek100) -> Path:
    """The same with tiny datasets and the authors' files, which are empty."""
    shutil.copytree(fresh, folder := tmp_path_factory.mktemp("study") / "study")
    config = yaml.safe_load((folder / "config/config.yaml").read_text())
    ek100 = {"root": str(tiny_ek100)}
    ek100 |= {part: {"tada2d": str(folder / part)} for part in ("features", "classification", "bmn")}
    config["data"] = {"ssv2": str(tiny_ssv2), "k400": str(tiny_k400), "ek100": ek100, "hacs": str(tiny_k400)}
    for release, datasets in config["released"].items():
        for dataset, files in datasets.items():
            datasets[dataset] = {model: str(folder / f"{release}-{dataset}-{model}.pyth") for model in files}
            for file in datasets[dataset].values():
                Path(file).touch()
    for part in ("features", "classification"):
        (folder / part).mkdir()
    (folder / "bmn").touch()
    (folder / "config/config.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture(scope="module")
def finished(study, tmp_path_factory) -> Path:
    """The same, after every mini run with seed 0, and one at the paper's scale; the snapshot beside it."""
    shutil.copytree(study, folder := tmp_path_factory.mktemp("finished") / "study")
    shutil.copytree(PROJECT / "snapshot", folder / "snapshot")
    wanted = [Run("mini", dataset, model, 0, folder / "results") for dataset, model in Wanted.of_the_paper().runs]
    for run in [*wanted, Run("paper", "ssv2", "tsn", 0, folder / "results")]:
        plant_outcome(run)
        plant_record(run, {"top1": 50.0})
        run.file("log.txt").write_text("epoch 1\n")
    return folder


def typed(command: Snippet, folder: Path, stubs: Path, tiny: dict[str, str]) -> subprocess.CompletedProcess[str]:
    text = command.text.replace("~/uv/bin/", "")
    for place, here in tiny.items():
        text = text.replace(place, here)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TADA_")}
    kept |= {"PATH": f"{stubs}:{kept['PATH']}", "TYPED": str(folder / "typed"), "PYTHONPATH": str(PROJECT)}
    return subprocess.run(["bash", "-c", text], cwd=folder, env=kept, capture_output=True, text=True, check=False)


@pytest.fixture
def tiny(tiny_ssv2, tiny_ek100, tmp_path) -> dict[str, str]:
    return {
        "/datasets/something-something-v2": str(tiny_ssv2),
        "/datasets/epic-kitchens-100": str(tiny_ek100),
        "/scratch": str(tmp_path),
    }


@pytest.mark.parametrize("command", PLANNED, ids=str)
def test_snakemake_plans_it(command, study, stubs, tiny):
    done = typed(command, study, stubs, tiny)
    assert done.returncode == 0, done.stdout + done.stderr
    if command.runs:
        assert set(re.findall(r"^run +(\d+)$", done.stdout + done.stderr, re.MULTILINE)) == {command.runs}


@pytest.mark.parametrize("command", CALLED, ids=str)
def test_tada_does_it(command, fresh, finished, stubs, tiny, monkeypatch):
    folder = fresh if "tada plan" in command.text else finished
    assert typed(command, folder, stubs, tiny).returncode == 0
    arguments = (folder / "typed").read_text().splitlines()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    done = CliRunner().invoke(app, arguments)
    expected = int(any(name in command.text for name in FAILS))
    assert done.exit_code == expected, (done.output, done.exception)
    printed = " ".join(done.output.split())
    assert all(" ".join(line.split()) in printed for line in command.prints.splitlines()), done.output


def test_every_reason_is_needed_and_names_tests_that_are_there():
    named = re.findall(r"(?:tests|\.ci)/[\w/]+(?:\.py)?", " ".join([*NOT_RUN.values(), *FAILS.values()]))
    assert [name for name in named if not (PROJECT / name).exists()] == []
    texts = [snippet.text for snippet in [*BLOCKS, *SPANS]]
    assert [pattern for pattern in NOT_RUN if not any(re.search(pattern, text) for text in texts)] == []
    assert [name for name in FAILS if not any(name in command.text for command in CALLED)] == []


PARAMETERS = {
    name: {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
    for name, command in get_command(app).commands.items()  # type: ignore[attr-defined]
}


@pytest.mark.parametrize("snippet", [*TYPED, *SPANS], ids=str)
def test_commands_and_options_and_targets_exist(snippet):
    for call in re.findall(r"\btada ([a-z][\w-]*[^|&]*)", snippet.text):
        name, *words = call.split()
        assert name in PARAMETERS, name
        assert {word for word in words if re.match(r"--?[a-z]", word)} <= PARAMETERS[name] | {"--help"}
    named = re.findall(r"\b(?:tables|figures)/\w+\.(?:md|svg)", snippet.text)
    assert set(named) <= {*targets.everything(), "tables/results.md"}  # of the second paper in docs/architecture.md
    for module in re.findall(r"python -m (benchmarks\.\w+)", snippet.text):
        assert (PROJECT / f"{module.replace('.', '/')}.py").exists()


PYTHON = [page for page in PAGES if any(one.language == "python" for one in BLOCKS if one.page == page)]


@pytest.mark.parametrize("page", PYTHON)
def test_python_runs_from_the_top_of_the_page_to_its_end(page):
    names: dict[str, Any] = {"__name__": page}
    for one in BLOCKS:
        if one.page == page and one.language == "python":
            exec(compile("\n" * one.line + one.text, page, "exec"), names)


CONFIG = yaml.safe_load((PROJECT / "config/config.yaml").read_text())


@pytest.mark.parametrize("snippet", [one for one in BLOCKS if one.language == "yaml"], ids=str)
def test_settings_are_valid(snippet, tmp_path, monkeypatch):
    content: dict[str, Any] = yaml.safe_load(snippet.text)
    if set(content) <= set(CONFIG):
        check_config({**CONFIG, **content})
    elif set(content) <= set(CONFIG["data"]):
        check_config({**CONFIG, "data": content})
    elif snippet.page == "docs/architecture.md":  # tests/test_extending.py adds both
        assert set(content) in ({"rows"}, {"slim"})
    elif snippet.page == "docs/own-videos.md":
        (tmp_path / "recipes").mkdir()
        (tmp_path / "recipes/own.yaml").write_text(snippet.text)
        (tmp_path / "own.csv").write_text("path,label,split\n1.mp4,a,train\n2.mp4,b,train\n3.mp4,b,validation\n")
        shutil.copy(CONFIG_FOLDER / "models.yaml", tmp_path)
        monkeypatch.chdir(tmp_path)
        assert load_recipe("own", "small", "tada2d", tmp_path).train.initial == "scratch"
    else:
        pytest.fail(f"{snippet}: nothing says what these settings are")


@pytest.mark.parametrize("page", PAGES)
def test_blocks_in_lists_are_indented_for_both_readers(page):
    """Four spaces: the site's Markdown ends the list where there are fewer, GitHub's takes them, too."""
    lines = (PROJECT / page).read_text(encoding="utf-8").splitlines()
    inside = [lines[token.map[0]] for token in tokens(page) if token.type == "fence" and token.level]
    assert [line for line in inside if not line.startswith("    ```")] == []


@pytest.mark.parametrize("snippet", [one for one in BLOCKS if one.language not in ("bash", "python", "yaml")], ids=str)
def test_what_is_no_code_holds_no_commands(snippet):
    assert snippet.language in ("text", "csv"), f"{snippet}: which language is this?"
    assert not any(COMMAND.match(line.strip()) for line in snippet.text.splitlines()), snippet
