"""Tables of runs that came in an archive or a snapshot: those of the machine that made them, and they say so."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from planting import ENVIRONMENT, plant_record
from typer.testing import CliRunner

from tada.base import TadaError
from tada.base.provenance import Hardware
from tada.cli import app
from tada.report.measure.archive import PACKED, import_snapshot, write_archive
from tada.report.measure.results import DONE, Results
from tada.report.measure.samples import Unusable, read_hits, read_scores
from tada.report.pages.snapshot import gather
from tada.report.plan import Wanted
from tada.runs.record import RecordedFile, read_record
from tada.runs.run import Run
from tada.runs.settings import Scale

OTHER_MACHINE = replace(ENVIRONMENT, hardware=Hardware("6502", 16, ["Voodoo"]))
FORMS = ("md", "tex", "html", "csv")


def tada(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def made(small):
    """Two rows with three seeds of another machine, which differ video by video; and an ensemble's two networks."""
    generator = np.random.default_rng(0)
    for model, share in (("tsn", 0.4), ("tada2d", 0.7), ("tada2d-16f", 0.5)):
        for seed in range(3):
            right = generator.random(400) < share
            run = small.hits(model, right, seed)
            run.file("curves.csv").write_text("epoch,train_loss\n1,0.5\n")
            files = {name: RecordedFile.of(run.file(name)) for name in ("scores.npz", "curves.csv")}
            top1 = 100.0 * float(right.mean())
            plant_record(run, {"top1": top1}, environment=OTHER_MACHINE, files=files, config=run.configuration)
    return small


def tables(plant, results):
    """The table in all its forms, built in a folder that holds these results alone."""
    plant.results = results
    assert plant.build(seeds=3) == []
    texts = {form: plant.text(kind=form) for form in FORMS}
    return {form: text.replace(str(results), "results") for form, text in texts.items()}


def without(texts, word):
    """The lines of the pages that do not say the word, and those that do."""
    kept = {form: [line for line in text.splitlines() if word not in line] for form, text in texts.items()}
    said = {form: [line for line in text.splitlines() if word in line] for form, text in texts.items()}
    return kept, said


def test_published_imported_and_built_tables_are_the_same(made, tmp_path):
    before = tables(made, made.results)
    tada("publish", "--results", made.results, "--out", tmp_path / "runs.zip")
    made.results.rename(tmp_path / "away")
    tada("import", tmp_path / "runs.zip", "--results", tmp_path / "there")
    after, said = without(tables(made, tmp_path / "there"), "Imported")
    for form in FORMS:
        assert "\n".join(after[form]) == before[form].rstrip("\n"), form
    content = json.loads((tmp_path / "there/mini/ssv2/tsn/seed0/metrics.json").read_text())["imported"]["sha256"]
    assert said["md"] == [
        f"- **Imported**: from runs.zip (SHA-256 {content[:16]}), made on 6502, 16 cores, 1 × Voodoo: "
        "ssv2/tada2d seeds 0, 1, 2; ssv2/tsn seeds 0, 1, 2"
    ]
    assert len(said["tex"]) == len(said["html"]) == 1 and not said["csv"]


@pytest.fixture
def snapshot(made, tmp_path):
    """The same results as a snapshot keeps them; a folder of results is not there any more."""
    archive, _ = gather(Scale.MINI, 3, [made.results], tmp_path / "snapshot", Wanted.of_the_paper())
    write_archive(archive)
    return tmp_path / "snapshot"


def test_tables_of_an_imported_snapshot(made, snapshot, tmp_path):
    """A snapshot has the packages that numbers depend on alone; all else is the same."""
    before = tables(made, made.results)
    assert tada("import", snapshot, "--results", tmp_path / "there").startswith("9 runs taken in;")
    after, said = without(tables(made, tmp_path / "there"), "Imported")
    for form in FORMS:
        assert "\n".join(after[form]) == before[form].rstrip("\n"), form
    assert "from snapshot (SHA-256" in said["md"][0]
    assert tada("verify", "--results", tmp_path / "there").endswith("no faults\n")


def test_an_imported_snapshot_has_the_videos_behind_its_numbers(made, snapshot, tmp_path):
    import_snapshot(snapshot, tmp_path / "there")
    ours, theirs = (Results(root, Scale.MINI, 3).runs("ssv2", "tada2d") for root in (made.results, tmp_path / "there"))
    assert [result.status for result in theirs] == [DONE] * 3 and all(result.archive is None for result in theirs)
    found, expected = (read_hits([[one] for one in results], "top1") for results in (theirs, ours))
    np.testing.assert_array_equal(found.right, expected.right)
    assert found.videos.tolist() == expected.videos.tolist() and found.labels.tolist() == expected.labels.tolist()
    with pytest.raises(Unusable, match="ssv2/tada2d seed 0 is of a snapshot, which holds no scores"):
        read_scores(theirs[0], found.videos)


def test_an_imported_snapshot_goes_on_to_others(made, snapshot, tmp_path):
    """Into an archive and into another snapshot."""
    import_snapshot(snapshot, tmp_path / "there")
    tada("publish", "--results", tmp_path / "there", "--out", tmp_path / "runs.zip")
    tada("import", tmp_path / "runs.zip", "--results", tmp_path / "third")
    assert tada("verify", "--results", tmp_path / "third").endswith("no faults\n")
    again, _ = gather(Scale.MINI, 3, [tmp_path / "third"], tmp_path / "again", Wanted.of_the_paper())
    write_archive(again)
    for name in ("videos.jsonl", "networks.jsonl"):
        assert (tmp_path / "again" / name).read_bytes() == (snapshot / name).read_bytes()
    lines = [json.loads(line) for line in (tmp_path / "again/runs.jsonl").read_text().splitlines()]
    assert {line["record"].pop("imported")["archive"] for line in lines} == {"runs.zip"}
    assert lines == [json.loads(line) for line in (snapshot / "runs.jsonl").read_text().splitlines()]


def test_trainings_go_on_from_a_snapshots_seeds(made, snapshot, tmp_path):
    """A fourth seed is trained beside the three that came; those of the same training that are here already stay."""
    there = tmp_path / "there"
    shutil.copytree(made.results / "mini/ssv2/tsn/seed1", there / "mini/ssv2/tsn/seed1")
    taken = import_snapshot(snapshot, there)
    assert (len(taken.taken), [str(run) for run in taken.there]) == (8, ["ssv2/tsn seed 1"])
    assert (there / "mini/ssv2/tsn/seed1/scores.npz").exists()
    made.results = there
    made.hits("tsn", np.arange(400) < 150, seed=3)
    hits = read_hits([[one] for one in Results(there, Scale.MINI, 4).runs("ssv2", "tsn")], "top1")
    assert hits.right.shape == (4, 400) and hits.by_seed[3] == 37.5


def test_scores_take_the_place_of_a_snapshots_values(made, snapshot, tmp_path):
    import_snapshot(snapshot, tmp_path / "there")
    tada("publish", "ssv2/tsn", "--results", made.results, "--out", tmp_path / "runs.zip")
    assert tada("import", tmp_path / "runs.zip", "--results", tmp_path / "there").startswith("3 runs taken in;")
    run = Run("mini", "ssv2", "tsn", 0, tmp_path / "there")
    assert run.file("scores.npz").exists() and not run.file(PACKED).exists()
    assert read_record(run).imported.archive == "runs.zip"


def test_a_snapshot_that_was_changed(snapshot, tmp_path):
    path = snapshot / "runs.jsonl"
    path.write_bytes(path.read_bytes().replace(b"6502", b"6503"))
    with pytest.raises(TadaError, match=r"runs.jsonl is cut off or was changed"):
        import_snapshot(snapshot, tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_a_value_of_a_video_that_was_changed_after_the_import(made, snapshot, tmp_path):
    import_snapshot(snapshot, tmp_path / "there")
    path = tmp_path / "there/mini/ssv2/tsn/seed0/snapshot/runs.jsonl"
    path.write_bytes(path.read_bytes().replace(b"hits", b"hist"))
    [result] = Results(tmp_path / "there", Scale.MINI, 1).runs("ssv2", "tsn")
    assert result.status == "failed" and "snapshot/runs.jsonl has changed since" in result.reason
