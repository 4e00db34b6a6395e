"""Archives of planted runs: what goes in comes out, and whatever is not as it was published is one clear line."""

import json
import os
import shutil
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from filelock import FileLock
from planting import ENVIRONMENT, plant_outcome, plant_record
from typer.testing import CliRunner

from tada.base import TadaError
from tada.base.files import write_arrays, write_json
from tada.base.provenance import Hardware
from tada.base.typed_json import save_sealed, to_json
from tada.cli import app
from tada.cluster.launch import launch
from tada.runs.checkpoints import finished_run, load_trained
from tada.runs.crate import METADATA
from tada.runs.exchange import import_archive
from tada.runs.record import Initial, RecordedFile, read_outcome, read_record
from tada.runs.run import Run
from tada.runs.verification import damage, is_finished

OTHER_MACHINE = replace(ENVIRONMENT, hardware=Hardware("6502", 16, ["Voodoo"]))


def plant(results, model="tsn", seed=0, dataset="ssv2", top1=50.0, environment=ENVIRONMENT, attempt=1):
    """A finished run with scores, curves and weights."""
    run = Run("mini", dataset, model, seed, results)
    labels = np.arange(400) % 2
    scores = np.stack([labels == 0, labels == 1], 1).astype(np.float32)
    wrong = 400 - int(4 * top1)
    scores[:wrong] = scores[:wrong, ::-1]
    write_arrays(run.file("scores.npz"), {"videos": np.arange(400).astype(str), "labels": labels, "scores": scores})
    run.file("curves.csv").write_text("epoch,train_loss\n1,0.5\n")
    run.file("checkpoint.pt").write_bytes(f"{model} {seed} {environment.hardware}".encode() * 99)
    files = {name: RecordedFile.of(run.file(name)) for name in ("scores.npz", "curves.csv", "checkpoint.pt")}
    initial = Initial("imagenet", file="/home/me/resnet50.pth", folder="/home/me")
    plant_record(run, {"top1": top1}, files=files, initial=initial, environment=environment)
    plant_outcome(run)
    os.utime(run.file("metrics.json"), (1.7e9, 1.7e9))
    save_sealed(
        results / "complexity" / model / "400x256.json",
        {"params": 5, "macs": 7, "uncounted": {}, "environment": to_json(ENVIRONMENT)},
    )
    return run


def tada(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def content(folder):
    """Every file's bytes by its name."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != ".lock")
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


@pytest.fixture
def results(tmp_path):
    plant(tmp_path / "results")
    plant(tmp_path / "results", "tada2d", 1, top1=75.0)
    return tmp_path / "results"


@pytest.fixture
def archive(results, tmp_path):
    done = tada("publish", "--results", results, "--out", tmp_path / "runs.zip")
    assert done.exit_code == 0, done.output
    assert "2 runs and 2 counted networks" in done.stdout and "under the licence CC-BY-4.0" in done.stdout
    return tmp_path / "runs.zip"


@pytest.fixture
def there(tmp_path):
    return tmp_path / "there"


def rewritten(archive, change, compress=zipfile.ZIP_DEFLATED):
    """The archive with other members: `change` takes and gives name -> bytes; checksums of the ZIP file fit again."""
    with zipfile.ZipFile(archive) as file:
        members = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(archive, "w", compress) as file:
        for name, text in change(members).items():
            file.writestr(name, text)


def described(members, change):
    """The same members with another description: `change` works on the entities by their names."""
    metadata = json.loads(members[METADATA])
    entities = {entity["@id"]: entity for entity in metadata["@graph"]}
    change(entities)
    return {**members, METADATA: json.dumps({**metadata, "@graph": list(entities.values())}).encode()}


def refused(archive, there, message):
    before = content(there)
    done = tada("import", archive, "--results", there)
    assert done.exit_code == 1 and message in done.stderr, done.output
    assert done.stderr.startswith(f"Error: {archive}: ") and done.stderr.count("\n") == 1
    assert content(there) == before and not list(there.glob(".import-*"))


def test_what_goes_in_comes_out(archive, results, there):
    done = tada("import", archive, "--results", there)
    assert done.stdout == "2 runs taken in; 2 counted networks taken in\n"
    for model, seed in (("tsn", 0), ("tada2d", 1)):
        ours, theirs = (Run("mini", "ssv2", model, seed, folder) for folder in (results, there))
        record, arrived = read_record(ours), read_record(theirs)
        assert arrived.imported.archive == "runs.zip" and len(arrived.imported.sha256) == 64
        files = {name: of for name, of in record.files.items() if name != "checkpoint.pt"}
        assert arrived == replace(
            record, files=files, initial=Initial("imagenet", "resnet50.pth"), imported=arrived.imported
        )
        assert is_finished(theirs) and damage(theirs, arrived, thorough=True) == {}
        assert read_outcome(theirs) == replace(read_outcome(ours), attempt=0)  # Snakemake has no note of it there
        assert theirs.file("scores.npz").read_bytes() == ours.file("scores.npz").read_bytes()
        assert theirs.file("metrics.json").stat().st_mtime == 1.7e9  # when it ended; its outcome is of now
        assert theirs.file("outcome.json").stat().st_mtime > 1.71e9
        assert not theirs.file("checkpoint.pt").exists()
    for name in ("tsn", "tada2d"):
        counts = f"complexity/{name}/400x256.json"
        assert (there / counts).read_bytes() == (results / counts).read_bytes()
    assert tada("verify", "--results", there).stdout == "2 finished runs and 2 counted networks: no faults\n"
    assert "/home" not in "".join(text.decode("latin-1") for text in content(there).values())


def test_the_same_runs_again_change_nothing(archive, there):
    tada("import", archive, "--results", there)
    before = content(there)
    done = tada("import", archive, "--results", there)
    assert done.stdout == "0 runs taken in, 2 were there already; 0 counted networks taken in\n"
    assert content(there) == before


def test_the_same_results_give_the_same_bytes(archive, results, tmp_path):
    tada("publish", "--results", results, "--out", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()


def test_an_imported_run_is_not_trained_again(archive, there, tmp_path, monkeypatch):
    tada("import", archive, "--results", there)
    run = Run("mini", "ssv2", "tsn", 0, there)
    monkeypatch.setattr("tada.cluster.launch._train_here", lambda *_: pytest.fail("it is trained"))
    assert launch(run, data_root="") == read_outcome(run)


def test_weights_where_they_are_wanted(results, there, tmp_path):
    tada("publish", "ssv2/tsn", "--results", results, "--out", tmp_path / "bare.zip")
    tada("import", tmp_path / "bare.zip", "--results", there)
    run = Run("mini", "ssv2", "tsn", 0, there)
    assert finished_run(run)
    with pytest.raises(TadaError, match=r"imported from bare.zip, which has no weights; import an archive that was"):
        load_trained(run)
    tada("publish", "ssv2/tsn", "--weights", "--results", results, "--out", tmp_path / "whole.zip")
    assert tada("import", tmp_path / "whole.zip", "--results", there).stdout.startswith("1 run taken in;")
    assert (
        run.file("checkpoint.pt").read_bytes()
        == Run("mini", "ssv2", "tsn", 0, results).file("checkpoint.pt").read_bytes()
    )
    assert tada("import", tmp_path / "bare.zip", "--results", there).stdout.startswith("0 runs taken in, 1 were there")
    assert run.file("checkpoint.pt").exists()


def test_tables_name_their_runs(results, tmp_path):
    plant(results, "tsn", dataset="k400")
    done = tada("publish", "tables/table3b.md", "--results", results, "--out", tmp_path / "out.zip")
    assert done.exit_code == 0, done.output
    with zipfile.ZipFile(tmp_path / "out.zip") as file:
        records = {name for name in file.namelist() if name.endswith("metrics.json")}
    assert records == {"mini/ssv2/tsn/seed0/metrics.json", "mini/ssv2/tada2d/seed1/metrics.json"}


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (["tabel3b"], "unknown run 'tabel3b'"),
        (["table2", "--scale", "paper"], "no finished run of table2 at scale paper"),
        (["ssv2/tada2d-max"], "ssv2/tada2d-max seed 0: is not finished"),
    ],
)
def test_what_cannot_be_published(what, message, results, tmp_path):
    plant_outcome(Run("mini", "ssv2", "tada2d-max", 0, results), "it is broken")
    done = tada("publish", *what, "--results", results, "--out", tmp_path / "out.zip")
    assert done.exit_code == 1 and message in done.stderr
    assert not (tmp_path / "out.zip").exists()


def test_a_damaged_run_is_not_published(results, tmp_path):
    file = Run("mini", "ssv2", "tsn", 0, results).file("scores.npz")
    dates, text = file.stat(), bytearray(file.read_bytes())
    text[100] ^= 1
    file.write_bytes(text)
    os.utime(file, ns=(dates.st_atime_ns, dates.st_mtime_ns))  # as a disk does it
    done = tada("publish", "ssv2/tsn", "--results", results, "--out", tmp_path / "out.zip")
    assert f"{file} has changed since the record was written" in done.stderr
    assert not (tmp_path / "out.zip").exists()


def test_any_changed_byte_is_refused_or_changes_nothing(archive, there, tmp_path):
    """One bit at 150 places. What is not noticed, dates inside of the ZIP file and the like, changes no file."""
    whole = archive.read_bytes()
    tada("import", archive, "--results", there)
    expected, refusals = content(there), 0
    for place in range(5, len(whole), len(whole) // 150):
        changed = tmp_path / "changed" / archive.name
        changed.parent.mkdir(exist_ok=True)
        changed.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        folder = tmp_path / f"at {place}"
        done = tada("import", changed, "--results", folder)
        if done.exit_code:
            assert done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1, done.output
            assert content(folder) == {}
            refusals += 1
            continue
        arrived = content(folder)
        for name in expected:
            assert arrived[name] == expected[name] or name.endswith("metrics.json")
        assert tada("verify", "--results", folder).exit_code == 0
        assert [json.loads(text)["metrics"] for name, text in sorted(arrived.items()) if "metrics" in name] == [
            json.loads(text)["metrics"] for name, text in sorted(expected.items()) if "metrics" in name
        ]
    assert refusals > 100


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"])
def test_a_member_that_one_bit_compresses_in_another_way_is_refused(method, archive, tmp_path):
    """Such readers have errors of their own, bzip2's like that of a disk."""
    whole = bytearray(archive.read_bytes())
    entry = whole.find(b"PK\1\2")
    while entry >= 0 and whole[entry + 10] != zipfile.ZIP_DEFLATED:
        entry = whole.find(b"PK\1\2", entry + 1)
    whole[entry + 10] = method
    (changed := tmp_path / "changed.zip").write_bytes(whole)
    done = tada("import", changed, "--results", tmp_path / "there")
    assert done.exit_code == 1 and done.stderr.startswith(f"Error: {changed}: damaged or changed: "), done.output
    assert done.stderr.count("\n") == 1 and content(tmp_path / "there") == {}


@pytest.mark.parametrize("name", ["scores.npz", "metrics.json", "curves.csv"])
def test_a_file_that_was_changed_with_the_checksums_of_zip(name, archive, there):
    """As whoever unpacks an archive, edits a number and packs it again."""
    member = f"mini/ssv2/tsn/seed0/{name}"
    rewritten(archive, lambda members: {**members, member: members[member].replace(b"5", b"6")})
    refused(archive, there, f"{member} is not what was published; nothing was imported")


def test_a_record_that_was_changed_with_all_checksums_of_the_archive(archive, there):
    """The description is made to fit, too: the record has a checksum of its own."""
    member = "mini/ssv2/tsn/seed0/metrics.json"

    def change(members):
        import hashlib

        text = members[member].replace(b'"top1": 50.0', b'"top1": 99.0')

        def fit(entities):
            entities[member]["sha256"] = hashlib.sha256(text).hexdigest()

        return described({**members, member: text}, fit)

    rewritten(archive, change)
    refused(archive, there, "its content does not give its checksum")


def test_a_file_that_is_missing(archive, there):
    rewritten(archive, lambda members: {name: text for name, text in members.items() if "tsn/seed0/scores" not in name})
    refused(archive, there, "mini/ssv2/tsn/seed0/scores.npz is missing")


def test_a_file_that_nobody_described(archive, there):
    rewritten(archive, lambda members: {**members, "mini/ssv2/tsn/seed7/scores.npz": b"x"})
    refused(archive, there, "its files are not those that it describes")


@pytest.mark.parametrize(
    "name",
    [
        "../outside.json", "/etc/outside.json", "mini/ssv2/tsn/seed0/../../../../../outside.json",
        "mini\\ssv2\\tsn\\seed0\\metrics.json", "mini/ssv2/tsn/seed0/.lock", "mini/ssv2/tsn/seed0/run.py",
        "C:/outside.json",
    ],
)  # fmt: skip
def test_a_path_that_leaves_its_folder(name, archive, there, tmp_path):
    rewritten(archive, lambda members: {**members, name: b"{}"})
    refused(archive, there, "is no file of a run or a counted network; nothing was imported")
    assert not list(tmp_path.rglob("outside.json"))


def test_an_archive_that_would_fill_the_disk(archive, there):
    rewritten(archive, lambda members: {**members, "mini/ssv2/tsn/seed9/scores.npz": bytes(200 << 20)})
    assert archive.stat().st_size < 1 << 20
    refused(archive, there, "bytes, which no archive of runs does; nothing was imported")


def test_other_files(there, tmp_path, archive):
    folder = tmp_path / "other"
    folder.mkdir()
    text = folder / "text.zip"
    text.write_text("no archive")
    refused(text, there, "no archive of `tada publish`: it is no ZIP file, or is cut short; nothing was imported")
    cut = folder / "cut.zip"
    cut.write_bytes(archive.read_bytes()[:-100])
    refused(cut, there, f"it has no {METADATA}, or is cut short")  # the end that is found is that of scores in it
    for name, metadata, message in (
        ("plain.zip", None, f"no archive of `tada publish`: it has no {METADATA}, or"),
        ("crate.zip", {"@graph": [{"@id": "./"}]}, "an RO-Crate, but no archive of `tada publish`"),
        ("broken.zip", ["@graph"], f"{METADATA} is no RO-Crate"),
    ):
        with zipfile.ZipFile(folder / name, "w") as file:
            if metadata is not None:
                file.writestr(METADATA, json.dumps(metadata))
        refused(folder / name, there, message)
    refused(folder / "none.zip", there, "no such file")


def test_an_archive_of_a_later_format(archive, there):
    rewritten(archive, lambda members: described(members, lambda entities: entities["#format"].update(value=2)))
    refused(archive, there, "format 2, and this version reads 1")


def changed_recipe(monkeypatch, *models):
    """From now on, these models have another signature."""
    before = Run.signature.func
    monkeypatch.setattr(Run, "signature", property(lambda run: before(run) + "x" * (run.model in models)))


def test_runs_of_other_recipes_are_left_out_and_named(archive, there, monkeypatch):
    changed_recipe(monkeypatch, "tsn")
    done = tada("import", archive, "--results", there)
    assert done.stdout.splitlines() == [
        "1 run taken in; 1 counted network taken in",
        "left out, of other recipes or networks than today's: ssv2/tsn seed 0",
    ]
    assert not (there / "mini/ssv2/tsn").exists() and not (there / "complexity/tsn").exists()


def test_an_archive_of_other_recipes_alone_is_refused(archive, there, monkeypatch):
    changed_recipe(monkeypatch, "tsn", "tada2d")
    refused(archive, there, "no run of today's recipes: ssv2/tada2d seed 1, ssv2/tsn seed 0 are of others")


def in_the_way(archive, there, message):
    """Nothing is taken in, also of the runs that would be in nobody's way; with --replace, all are."""
    before = content(there)
    done = tada("import", archive, "--results", there)
    assert done.exit_code == 1 and message in done.stderr and done.stderr.count("\n") == 1, done.output
    assert "nothing was imported: --replace takes what" in done.stderr
    assert content(there) == before
    done = tada("import", archive, "--results", there, "--replace")
    assert done.exit_code == 0, done.output
    assert read_record(Run("mini", "ssv2", "tsn", 0, there)).imported.archive == "runs.zip"
    assert tada("verify", "--results", there).exit_code == 0 and not list(there.glob(".import-*"))


def test_other_results_of_the_same_run(archive, there):
    plant(there, top1=40.0, environment=OTHER_MACHINE)
    in_the_way(
        archive, there, "ssv2/tsn seed 0: has other results, top1 40.0 (6502, 16 cores, 1 × Voodoo) instead of 50.0 ("
    )


def test_results_of_another_recipe(archive, there):
    run = plant(there)
    record = json.loads(run.file("metrics.json").read_text())
    write_json(run.file("metrics.json"), {**record, "signature": "of yesterday"})
    in_the_way(archive, there, "ssv2/tsn seed 0: has results of another recipe")


def test_a_run_that_is_half_trained(archive, there):
    run = Run("mini", "ssv2", "tsn", 0, there)
    run.folder.mkdir(parents=True)
    run.file("checkpoint.pt").write_bytes(b"half")
    in_the_way(archive, there, "ssv2/tsn seed 0: is half trained")
    assert not run.file("checkpoint.pt").exists()


def test_the_same_run_damaged(archive, there):
    file = plant(there).file("scores.npz")
    file.write_bytes(file.read_bytes()[:-1])
    in_the_way(archive, there, "scores.npz has")


def test_other_counts(archive, there):
    path = there / "complexity/tsn/400x256.json"
    write_json(path, {"params": 6, "macs": 7, "uncounted": {}, "environment": to_json(ENVIRONMENT)})
    in_the_way(archive, there, "complexity/tsn/400x256.json: is there with other counts")


@pytest.mark.parametrize("how", ["edited", "empty", "folder"])
def test_counts_that_were_damaged_here_are_replaced(how, archive, results, there):
    """Whoever edits a count leaves its checksum as it was: what the file says nobody has counted."""
    tada("import", archive, "--results", there)
    name = "complexity/tsn/400x256.json"
    whole = (there / name).read_bytes()
    if how == "folder":
        (there / name).unlink()
        (there / name).mkdir()
    else:
        (there / name).write_bytes(whole.replace(b'"params": 5', b'"params": 6') if how == "edited" else b"")
        assert (there / name).read_bytes() != whole
    done = tada("import", archive, "--results", there)
    assert done.exit_code == 0 and done.stdout.splitlines() == [
        "0 runs taken in, 2 were there already; 1 counted network taken in",
        f"{there / name}: was damaged or changed by hand, and is replaced",
    ]
    assert (there / name).read_bytes() == whole == (results / name).read_bytes()


def test_a_run_that_failed_here_is_in_nobodys_way(archive, there):
    run = Run("mini", "ssv2", "tsn", 0, there)
    plant_outcome(run, "no videos")
    run.file("log.txt").write_text("it failed\n")
    assert tada("import", archive, "--results", there).exit_code == 0
    assert is_finished(run) and not read_outcome(run).failed


def test_a_run_that_is_executed_just_now(archive, there):
    run = Run("mini", "ssv2", "tsn", 0, there)
    run.folder.mkdir(parents=True)
    with FileLock(run.file(".lock")):
        done = tada("import", archive, "--results", there, "--replace")
    assert done.stderr == "Error: ssv2/tsn seed 0: is executed just now; nothing was imported\n"
    assert content(there) == {}


def test_a_full_disk_leaves_nothing(archive, there, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(TadaError, match=r"not written: the disk at .* is full"):
        import_archive(archive, there)
    assert content(there) == {}


def test_whose_weights_come_first_has_the_earlier_outcome(tmp_path):
    """Else Snakemake would think that the later run is of older weights."""
    for dataset in ("k400", "ek100"):
        plant(tmp_path / "results", dataset=dataset)
    tada("publish", "--results", tmp_path / "results", "--out", tmp_path / "two.zip")
    tada("import", tmp_path / "two.zip", "--results", tmp_path / "there")
    runs = [Run("mini", dataset, "tsn", 0, tmp_path / "there") for dataset in ("k400", "ek100")]
    assert runs[1].initial == runs[0]
    first, second = (run.file("outcome.json").stat().st_mtime_ns for run in runs)
    assert first < second
