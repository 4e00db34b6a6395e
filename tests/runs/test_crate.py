"""The description of an archive, by the rules of RO-Crate 1.2, whose sections are named, and by the records."""

import datetime
import hashlib
import json
import re
import zipfile
from dataclasses import replace
from pathlib import PurePosixPath
from urllib.parse import urlparse

import pytest
from planting import ENVIRONMENT, plant_outcome, plant_record

from tada.base.files import PROJECT, write_arrays, write_json
from tada.base.provenance import Hardware
from tada.base.typed_json import to_json
from tada.report.paper import about_paper
from tada.runs.crate import METADATA, Work
from tada.runs.exchange import publish
from tada.runs.record import RecordedFile
from tada.runs.run import Run

ON_GPU = replace(ENVIRONMENT, git_dirty=True, hardware=Hardware("EPYC", 8, ["H100", "H100"]))
PAPER = Work("A title", "A venue", ("First Author", "Second Author"), "https://example.org/paper")


@pytest.fixture
def archive(tmp_path):
    runs = []
    for model, environment in (("tsn", ENVIRONMENT), ("tada2d", ON_GPU)):
        run = Run("mini", "ssv2", model, 0, tmp_path / "results")
        write_arrays(run.file("scores.npz"), {"videos": ["1"], "scores": [[1.0, 0.0]]})
        files = {"scores.npz": RecordedFile.of(run.file("scores.npz"))}
        plant_record(run, {"top1": 50.0, "top5": 75.5}, environment=environment, files=files)
        plant_outcome(run)
        runs.append(run)
    counts = tmp_path / "results/complexity/tsn/400x256.json"
    write_json(counts, {"params": 5, "macs": 7, "uncounted": {}, "environment": to_json(ENVIRONMENT)})
    publish(runs, [counts], tmp_path / "runs.zip", weights=False, license="CC0-1.0", paper=PAPER)
    return zipfile.ZipFile(tmp_path / "runs.zip")


@pytest.fixture
def metadata(archive):
    return json.loads(archive.read(METADATA))


@pytest.fixture
def entities(metadata):
    return {entity["@id"]: entity for entity in metadata["@graph"]}


def references(value):
    """The names that a property's value refers to."""
    found = value if isinstance(value, list) else [value]
    return [one["@id"] for one in found if isinstance(one, dict)]


def test_json_ld_is_flattened_and_compacted(metadata, entities):
    """Section Structure: by reference to the context, each entity once, with name and type, none inside another."""
    assert metadata.keys() == {"@context", "@graph"} and metadata["@context"] == "https://w3id.org/ro/crate/1.2/context"
    assert len(entities) == len(metadata["@graph"])
    for entity in metadata["@graph"]:
        assert entity["@type"] and ("name" in entity or entity["@id"] == METADATA)
        for value in entity.values():
            parts = value if isinstance(value, list) else [value]
            assert all(part.keys() == {"@id"} for part in parts if isinstance(part, dict))
            assert not isinstance(value, list) or len(value) != 1 or not isinstance(value[0], dict)


def test_what_is_referred_to_is_described(metadata, entities):
    """All but the specification itself; and nothing stands there to which nothing refers."""
    named = {name for entity in metadata["@graph"] for value in entity.values() for name in references(value)}
    assert named - entities.keys() == {"https://w3id.org/ro/crate/1.2"}
    assert entities.keys() - named == {METADATA}


def test_descriptor_and_root(entities):
    """Section Root Data Entity: the root has name, description, date, and a licence with a description."""
    assert entities[METADATA] == {
        "@id": METADATA,
        "@type": "CreativeWork",
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.2"},
        "about": {"@id": "./"},
    }
    root = entities["./"]
    assert root["@type"] == "Dataset" and root["name"] == "2 runs of ssv2 at scale mini" and root["description"]
    today = datetime.datetime.now(datetime.UTC).date()
    assert datetime.date.fromisoformat(root["datePublished"]) in (today, today - datetime.timedelta(days=1))
    licence = entities[root["license"]["@id"]]
    assert (licence["@id"], licence["name"]) == ("https://spdx.org/licenses/CC0-1.0", "CC0-1.0")
    assert licence["description"]


def test_data_entities_are_the_files_and_reached_from_the_root(archive, entities):
    """Section Data Entities: files are of type File, folders of Dataset and end with /, all below the root."""
    reached, waiting = set(), ["./"]
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting += references(entities[name].get("hasPart", []))
    files = {name for name, entity in entities.items() if entity["@type"] == "File"}
    folders = {name for name, entity in entities.items() if entity["@type"] == "Dataset"}
    assert reached == files | folders and files == set(archive.namelist()) - {METADATA}
    assert folders == {"./", "mini/ssv2/tsn/seed0/", "mini/ssv2/tada2d/seed0/"}
    for name in files:
        content, entity = archive.read(name), entities[name]
        assert not urlparse(name).scheme and ".." not in PurePosixPath(name).parts and not name.startswith("/")
        assert (entity["contentSize"], entity["sha256"]) == (str(len(content)), hashlib.sha256(content).hexdigest())
        assert re.fullmatch(r"[a-z]+/[\w.+-]+", entity["encodingFormat"])


def test_paper_with_its_authors(entities):
    """Section Contextual entities: a publication is linked by citation from the root."""
    paper = entities[entities["./"]["citation"]["@id"]]
    assert (paper["@id"], paper["@type"], paper["name"]) == (PAPER.url, "ScholarlyArticle", PAPER.title)
    authors = [entities[name] for name in references(paper["author"])]
    assert [author["name"] for author in authors] == list(PAPER.authors)
    assert {author["@type"] for author in authors} == {"Person"}


def test_each_run_with_signature_metrics_code_and_machine(entities, tmp_path):
    """Section Provenance: an action made the run's folder, with program and equipment as its instruments."""
    expected = {
        "tsn": ("0123456789abcdef", "Z80, 1 core"),
        "tada2d": ("0123456789abcdef with uncommitted changes", "EPYC, 8 cores, 2 × H100"),
    }
    actions = [entities[name] for name in references(entities["./"]["mentions"])]
    assert len(actions) == 2
    for action in actions:
        folder = entities[action["result"]["@id"]]
        model = folder["@id"].split("/")[2]
        assert action["@type"] == "CreateAction"
        assert datetime.datetime.fromisoformat(action["endTime"]).tzinfo is datetime.UTC
        signature = entities[folder["identifier"]["@id"]]
        run = Run("mini", "ssv2", model, 0)
        assert (signature["propertyID"], signature["value"]) == ("signature", run.signature)
        metrics = {entities[name]["name"]: entities[name]["value"] for name in references(folder["variableMeasured"])}
        assert metrics == {"top1": 50.0, "top5": 75.5}
        program, equipment = (entities[name] for name in references(action["instrument"]))
        assert (program["@type"], equipment["@type"]) == ("SoftwareApplication", "IndividualProduct")
        assert (entities[program["identifier"]["@id"]]["value"], equipment["name"]) == expected[model]
        assert program["version"] and program["url"] == PAPER.url
        assert program["softwareRequirements"] == ["Python 3.11.7", "torch 2.0", "decord 0.6", "leftpad 1"]


def test_authors_of_the_paper_are_those_of_the_citation():
    import yaml

    [paper] = yaml.safe_load((PROJECT / "CITATION.cff").read_text())["references"]
    names = [
        " ".join(filter(None, (one["given-names"], one["family-names"], one.get("name-suffix"))))
        for one in paper["authors"]
    ]
    about = about_paper()
    assert (list(about.authors), about.url) == (names, paper["url"])
