"""What surrounds the code in a public project: its files name things that exist, and say the same of it."""

import hashlib
import os
import re
import subprocess
import tomllib
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import tada
from tada.base.files import PROJECT
from tada.cli import app
from tada.report.paper import about_paper

APACHE_2 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
"""SHA-256 of the licence's text as the Apache Software Foundation gives it out."""


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def citation() -> dict[str, Any]:
    return yaml.safe_load((PROJECT / "CITATION.cff").read_text())


def sections(definition: str) -> dict[str, list[str]]:
    """Parts of an Apptainer definition: "" is its head, the others begin with %name."""
    found: dict[str, list[str]] = {"": []}
    name = ""
    for line in definition.splitlines():
        if line.startswith("%"):
            found[name := line[1:].strip()] = []
        elif line and not line.startswith("#"):
            found[name].append(line.strip())
    return found


@pytest.fixture(scope="module")
def image() -> dict[str, list[str]]:
    return sections((PROJECT / "apptainer.def").read_text())


def test_licence_is_whole_and_the_one_that_is_named(project, citation):
    assert hashlib.sha256((PROJECT / "LICENSE").read_bytes()).hexdigest() == APACHE_2
    assert project["license"] == citation["license"] == "Apache-2.0"
    assert project["license-files"] == ["LICENSE"]


def test_citation_names_this_version_and_the_paper(project, citation):
    assert "version" in project["dynamic"] and citation["version"] == tada.__version__
    [paper] = citation["references"]
    about = about_paper()
    assert (paper["title"], f"ICLR {paper['year']}") == (about.title, about.venue)
    assert [author["family-names"] for author in paper["authors"]] == [
        *("Huang", "Zhang", "Pan", "Qing", "Tang", "Liu", "Ang"),
    ]


def test_bibtex_says_the_same_as_the_citation(citation):
    text = (PROJECT / "CITATION.cff").read_text().partition("@inproceedings")[2].replace("\n#", " ")
    fields = dict(re.findall(r"(\w+) = \{(.*?)\}(?:,|\s*\})(?=\s+\w+ =|\s*$)", " ".join(text.split())))
    [paper] = citation["references"]
    assert fields["title"].replace("{", "").replace("}", "") == paper["title"]
    assert fields["author"].split(" and ") == [
        ", ".join(filter(None, (one["family-names"], one.get("name-suffix"), one["given-names"])))
        for one in paper["authors"]
    ]
    assert (fields["year"], fields["url"]) == (str(paper["year"]), paper["url"])
    assert fields["booktitle"] == paper["conference"]["name"]


def test_what_is_cited_is_the_citation(monkeypatch):
    commented = (PROJECT / "CITATION.cff").read_text().partition("#   @")[2]
    text = "@" + commented.replace("\n#   ", "\n")
    assert about_paper().bibtex == text
    monkeypatch.setattr("tada.cli.reports.version_and_commit", lambda: "1.2, commit 0123456789")
    done = CliRunner().invoke(app, ["cite"])
    assert done.stdout.startswith(text) and "note = {Version 1.2, commit 0123456789}" in done.stdout


def test_the_version_is_printed_with_its_commit(monkeypatch):
    for state, said in {(None, None): "", ("0" * 40, True): ", commit 0000000000 with uncommitted changes"}.items():
        monkeypatch.setattr("tada.base.provenance.git_state", lambda state=state: state)
        assert CliRunner().invoke(app, ["--version"]).stdout == f"tada-reproducibility {tada.__version__}{said}\n"


def test_changes_of_this_version_are_listed():
    versions = re.findall(r"^## (\S+?),", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == tada.__version__


def test_urls_are_those_of_the_paper_and_its_authors(project, citation):
    [paper] = citation["references"]
    assert {paper["url"], paper["repository-code"]} <= set(project["urls"].values())


def test_actions_call_scripts_that_are_there():
    [file] = (PROJECT / ".github/workflows").glob("*.yml")
    jobs = yaml.safe_load(file.read_text())["jobs"]
    steps = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    scripts = [PROJECT / step for step in steps if step.startswith(".ci/")]
    assert PROJECT / ".ci/run" in scripts
    assert all(os.access(script, os.X_OK) for script in scripts)


def test_actions_try_what_the_classifiers_promise(project):
    [file] = (PROJECT / ".github/workflows").glob("*.yml")
    tried = yaml.safe_load(file.read_text())["jobs"]["installed"]["strategy"]["matrix"]
    promised = [name.rpartition(" ")[2] for name in project["classifiers"] if re.search(r"Python :: 3\.", name)]
    assert tried["python"] == promised
    assert project["requires-python"] == f">={promised[0]}"


@pytest.mark.parametrize("script", sorted((PROJECT / ".ci").iterdir()), ids=lambda file: file.name)
def test_scripts_can_be_read_by_bash(script):
    subprocess.run(["bash", "-n", script], check=True)


def test_the_catalogue_finds_what_it_shows():
    usage = yaml.safe_load((PROJECT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    assert (PROJECT / "workflow/Snakefile").is_file()
    keys = yaml.safe_load((PROJECT / "workflow/schemas/config.schema.yaml").read_text())["properties"]
    described = re.findall(r"^\| `(\w+)` \|", (PROJECT / "config/README.md").read_text(), re.MULTILINE)
    assert sorted(described) == sorted(keys)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "config/README.md"])
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (PROJECT / page).read_text())
    assert links and all((PROJECT / page).parent.joinpath(link).exists() for link in links)


def test_the_image_has_a_python_that_the_package_takes(image):
    head = dict(line.split(": ", 1) for line in image[""])
    assert head["Bootstrap"] == "docker"
    minor = int(re.fullmatch(r"python:3\.(\d+)-slim", head["From"])[1])
    assert 11 <= minor < 14  # fvcore, which counts FLOPs there, cannot trace for Python 3.14
    assert "pip install --no-cache-dir -r /opt/tada/constraints.txt" in image["post"]


@pytest.mark.parametrize("name", ["post", "environment", "runscript", "test"])
def test_parts_of_the_image_can_be_read_by_a_shell(image, name):
    subprocess.run(["sh", "-n"], input="\n".join(image[name]), text=True, check=True)
    assert image[name]
