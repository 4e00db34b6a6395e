"""Official files of ground truth and predictions: what is read, what is refused, and what is only noted."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from tada.base import TadaError
from tada.cli import app
from tada.localization.ground_truth import read_ground_truth
from tada.localization.submission import read_submission, score_files, write_ek100, write_hacs

WASH = "Hand car wash"


def hacs_truth() -> dict[str, Any]:
    """The hand-checked case as two validation videos, and one video of training and testing each."""
    first = [{"label": WASH, "segment": [0, 10]}, {"label": WASH, "segment": [20.0, 40.0]}]
    database = {
        "v1": {"subset": "validation", "duration": "60.000000", "url": "", "annotations": first},
        "v2": {"subset": "validation", "duration": 30.5, "annotations": [{"label": "Archery", "segment": [5, 15]}]},
        "v3": {"subset": "training", "duration": "9", "annotations": [{"label": "Surfing", "segment": [1, 2]}]},
        "v4": {"subset": "testing", "duration": "9"},
    }
    return {"version": "1.1.1", "database": database}


def hacs_results() -> dict[str, Any]:
    """Predictions of the hand-checked case, once with a folder's underscores in the label."""
    first = [
        {"label": "Hand_car_wash", "score": 0.9, "segment": [0, 9]},
        {"label": WASH, "score": 0.8, "segment": [21, 36]},
    ]
    second = [
        {"label": "Archery", "score": 0.5, "segment": [5, 15]},
        {"label": WASH, "score": 0.95, "segment": [5, 15]},
    ]
    return {"version": "HACS", "results": {"v1": first, "v2": second}}


EK100_HEADING = "narration_id,video_id,start_timestamp,stop_timestamp,verb_class,noun_class"
EK100_ROWS = (
    "P01_11_0,P01_11,00:00:00.00,00:00:10.00,0,5",
    "P01_11_1,P01_11,00:00:20.00,00:00:30.00,1,5",
    "P03_02_0,P03_02,01:00:00.50,01:00:04.75,96,299",
)


def ek100_results() -> dict[str, Any]:
    """Every segment is found, the second with another noun."""
    first = [
        {"verb": 0, "noun": 5, "action": "0,5", "score": 0.9, "segment": [0.0, 10.0]},
        {"verb": 1, "noun": 6, "action": "1,6", "score": 0.8, "segment": [20.0, 30.0]},
    ]
    second = [{"verb": 96, "noun": 299, "action": "96,299", "score": 0.7, "segment": [3600.5, 3604.75]}]
    return {"version": "0.2", "challenge": "action_detection", "results": {"P01_11": first, "P03_02": second}}


@pytest.fixture
def save(tmp_path) -> Callable[[str, Any], Path]:
    """Writes text as it is, and anything else as JSON."""

    def write(name: str, content: Any) -> Path:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


@pytest.fixture
def ek100(save) -> Path:
    save("EPIC_100_video_info.csv", "video_id,duration,fps,resolution\nP01_11,40.0,50,a\nP03_02,3700,60,a\n")
    return save("EPIC_100_validation.csv", "\n".join([EK100_HEADING, *EK100_ROWS]))


@pytest.fixture
def hacs(save) -> Path:
    return save("HACS_segments_v1.1.1.json", hacs_truth())


def test_hacs_is_scored_by_its_protocol(hacs, save):
    score = score_files(hacs, save("predictions.json", hacs_results()))
    assert score.kind == "hacs"
    assert score.tasks["label"].mean == pytest.approx(0.7375)
    assert score.counts == {"annotated segments": 3, "videos": 2, "predictions": 4}
    assert score.notes == ()
    assert list(score.as_json()["map"]["label"])[-2:] == ["0.95", "average"]


def test_ek100_is_scored_by_its_protocol(ek100, save):
    score = score_files(ek100, save("predictions.json", ek100_results()))
    averages = {task: round(values["average"], 6) for task, values in score.as_json()["map"].items()}
    assert averages == {"verb": 100.0, "noun": 75.0, "action": 66.666667}
    assert list(score.as_json()["map"]["verb"]) == ["0.1", "0.2", "0.3", "0.4", "0.5", "average"]
    assert [note.split(" of")[0] for note in score.notes] == ["1", "1"]
    assert "dropped for nouns" in score.notes[0]
    lines = score.as_text().splitlines()
    assert lines[0] == "EPIC-KITCHENS-100, official protocol: 3 annotated segments, 2 videos, 3 predictions"
    assert [line.split()[0] for line in lines[4:7]] == ["verb", "noun", "action"]
    assert lines[5].split()[-1] == "75.00"


def test_ek100_is_scored_by_the_authors_protocol(ek100, save):
    """Verb 0 with noun 299 never occurs, and is the best score of both; officially it counts against each."""
    results = ek100_results()
    pair = {"verb": 0, "noun": 299, "action": "0,299", "score": 0.99, "segment": [12.0, 14.0]}
    results["results"]["P01_11"].append(pair)
    path = save("predictions.json", results)
    official, authors = (score_files(ek100, path, protocol=name) for name in ("official", "authors"))
    averages = [{task: round(100 * value.mean, 2) for task, value in of.tasks.items()} for of in (official, authors)]
    assert averages[0] == {
        "verb": 83.33,
        "noun": 50.0,
        "action": 66.67,
    }  # of verbs (1/2 + 1 + 1) / 3
    assert averages[1] == {"verb": 66.67, "noun": 75.0, "action": 66.67}  # 1,6 is left out as well: verb 1 has nothing
    assert [of.as_json()["protocol"] for of in (official, authors)] == ["official", "authors"]
    assert authors.as_text().startswith("EPIC-KITCHENS-100, the authors' protocol: 3 annotated")
    assert "2 of 4 predictions are dropped for pairs of a verb and a noun that the ground truth lacks" in authors.notes


def test_an_unknown_protocol_is_refused(ek100, hacs, save):
    with pytest.raises(TadaError, match="unknown protocol 'author'; did you mean 'authors'"):
        score_files(ek100, save("predictions.json", ek100_results()), protocol="author")
    with pytest.raises(TadaError, match="protocol is one of EPIC-KITCHENS-100; score hacs by the official one"):
        score_files(hacs, save("predictions.json", hacs_results()), protocol="authors")


def test_ground_truth_of_another_subset(hacs):
    truth = read_ground_truth(hacs, "training")
    assert truth.segments.to_dict("records") == [{"video": "v3", "label": "Surfing", "start": 1.0, "end": 2.0}]
    assert truth.others == {"v1", "v2", "v4"}
    with pytest.raises(TadaError, match=r"HACS.*unknown subset 'validated'; did you mean 'validation'"):
        read_ground_truth(hacs, "validated")
    with pytest.raises(TadaError, match="video v4: expected a list under 'annotations', found nothing"):
        read_ground_truth(hacs, "testing")


def test_times_of_ek100_are_read_to_the_hundredth(ek100):
    truth = read_ground_truth(ek100)
    assert truth.segments.iloc[2].tolist() == ["P03_02", 96, 299, 3600.5, 3604.75]
    assert truth.durations == {"P01_11": 40.0, "P03_02": 3700.0}


@pytest.mark.parametrize("perfect", ["hacs", "ek100"])
def test_written_files_are_read_again(perfect, request, tmp_path):
    truth = read_ground_truth(request.getfixturevalue(perfect))
    table = truth.segments.assign(score=[0.25, 0.75, 0.5])
    path = tmp_path / "new" / "submission.json"
    (write_hacs if perfect == "hacs" else write_ek100)(path, table)
    again, notes = read_submission(path, truth)
    assert notes == ()
    columns = list(table)
    pd.testing.assert_frame_equal(
        again[columns].sort_values("start", ignore_index=True), table.sort_values("start", ignore_index=True)
    )
    assert again["score"][:2].tolist() == [0.75, 0.25]  # the best of a video first
    assert all(task.mean == 1.0 for task in score_files(truth.path, path).tasks.values())
    assert [file.name for file in path.parent.iterdir()] == ["submission.json"]


def test_written_files_have_the_official_keys(tmp_path):
    rows = pd.DataFrame({"video": ["a"], "label": [1], "start": [0.0], "end": [2.5], "score": [0.5]})
    write_hacs(tmp_path / "a.json", rows, classes=["Archery", "Surfing"])
    assert json.loads((tmp_path / "a.json").read_text())["results"] == {
        "a": [{"label": "Surfing", "score": 0.5, "segment": [0.0, 2.5]}]
    }
    write_ek100(tmp_path / "b.json", rows.assign(verb=3, noun=7))
    written = json.loads((tmp_path / "b.json").read_text())
    assert set(written) == {"version", "challenge", "sls_pt", "sls_tl", "sls_td", "results"}
    assert written["results"] == {
        "a": [{"verb": 3, "noun": 7, "action": "3,7", "score": 0.5, "segment": [0.0, 2.5]}]
    }  # fmt: skip


def test_bad_tables_are_not_written(tmp_path):
    rows = pd.DataFrame({"video": ["a"], "label": ["x"], "start": [0.0], "end": [2.5], "score": [math.nan]})
    with pytest.raises(ValueError, match="whose score is not a finite number; the first is video a"):
        write_hacs(tmp_path / "a.json", rows)
    assert list(tmp_path.iterdir()) == []


def change(content: dict, video: str, place: int, **values: Any) -> dict:
    entry = content["results"][video][place]
    entry.update(values)
    for key in [key for key, value in entry.items() if value is ...]:
        del entry[key]
    return content


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"score": math.nan}, r"predictions: 1 of 4 segments whose score is not a finite.*video v1:.*score nan"),
        ({"score": None}, "whose score is not a finite number"),
        ({"score": "high"}, r"video v1, prediction 2: expected a number under 'score', found .*\"high\""),
        ({"score": ...}, "video v1, prediction 2: expected the key 'score'"),
        ({"segment": [36, 21]}, r"that end before they start; the first is video v1: start 36.0, end 21.0"),
        ({"segment": [21]}, r"video v1, prediction 2: expected 2 numbers under 'segment', found .*\[21\]"),
        ({"segment": [21, math.inf]}, "whose end is not a finite number"),
        ({"label": 7}, "video v1, prediction 2: expected a name under 'label'"),
        ({"label": ...}, "video v1, prediction 2: expected the key 'label'"),
    ],
)
def test_bad_predictions_of_hacs_are_named(hacs, save, values, message):
    path = save("predictions.json", change(hacs_results(), "v1", 1, **values))
    with pytest.raises(TadaError, match=f"predictions.json.*{message}"):
        score_files(hacs, path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"verb": 97}, "video P01_11, prediction 2: expected a class from 0 to 96 under 'verb'"),
        ({"noun": 5.5}, "expected a class from 0 to 299 under 'noun'"),
        ({"verb": -1}, "expected a class from 0 to 96"),
        ({"noun": ...}, "expected the key 'noun'"),
        ({"action": "1,5"}, r"the verb and the noun as 'verb,noun' under 'action', found .*1,5"),
        ({"action": ...}, "expected the key 'action'"),
    ],
)
def test_bad_predictions_of_ek100_are_named(ek100, save, values, message):
    path = save("predictions.json", change(ek100_results(), "P01_11", 1, **values))
    with pytest.raises(TadaError, match=f"predictions.json.*{message}"):
        score_files(ek100, path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"results": {"v1": [', "not a JSON file: .*line 1"),
        ("[1, 2]", r"expected a JSON object with the key 'results', found \[1, 2\]"),
        ({"result": {}}, "no key 'results'; it has 'result'"),
        ({"database": {}}, "were ground truth and predictions exchanged"),
        ({"results": [1]}, "results: expected an object with a key for each video"),
        ({"results": {"v1": {"label": 1}}}, "video v1: expected a list of predictions"),
        ({"results": {"v1": [3]}}, "video v1, prediction 1: expected the key 'segment', found 3"),
        ({"results": {}}, "no predictions"),
        ({"results": {"v1": []}}, "no predictions"),
        ({"results": {"v3": hacs_results()["results"]["v1"]}}, "no predictions for the 2 videos of"),
        ({"results": {"v1x": hacs_results()["results"]["v1"]}}, r"video 'v1x' is not in .*HACS.*did you mean 'v1'"),
        ({"results": {"qqq": [hacs_results()["results"]["v1"][0]], "rrr": [hacs_results()["results"]["v1"][0]]}},
         r"2 videos are not in .*e.g. 'qqq'; it has, e.g., 'v1'"),
        ({"results": {"v1": [{"label": "Archry", "score": 1, "segment": [0, 1]}]}},
         "none of the predictions' labels .*did you mean 'Archery'"),
        (ek100_results(), "these are predictions for EPIC-KITCHENS-100 .* is ground truth of HACS"),
    ],
)  # fmt: skip
def test_files_that_are_no_submission(hacs, save, content, message):
    with pytest.raises(TadaError, match=f"predictions.json: .*{message}"):
        score_files(hacs, save("predictions.json", content))


def test_a_video_that_stands_twice(hacs, save):
    """JSON's reader would keep the last list and lose the first."""
    text = json.dumps(hacs_results()).replace('"v2":', '"v1":')
    with pytest.raises(
        TadaError, match=r"predictions\.json: not a JSON file: 'v1' stands twice, and one of them would be lost"
    ):
        score_files(hacs, save("predictions.json", text))
    text = json.dumps(hacs_truth()).replace('"v2":', '"v1":')
    with pytest.raises(TadaError, match=r"truth\.json: not a JSON file: 'v1' stands twice"):
        score_files(save("truth.json", text), save("predictions.json", hacs_results()))


def test_missing_files(hacs, tmp_path):
    with pytest.raises(TadaError, match=r"none.json: no such file"):
        score_files(hacs, tmp_path / "none.json")
    for name in ("none.csv", "none.json"):
        with pytest.raises(TadaError, match="no such file"):
            read_ground_truth(tmp_path / name)
    with pytest.raises(TadaError, match=r"\.csv file of the same name"):
        read_ground_truth(tmp_path / "EPIC_100_validation.pkl")


def entry_with(**values: Any) -> dict:
    truth = hacs_truth()
    entry = truth["database"]["v2"]
    entry.update(values)
    for key in [key for key, value in entry.items() if value is ...]:
        del entry[key]
    return truth


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"results": {}}, "no key 'database'.*exchanged"),
        ({"database": {"v1": 3}}, "video v1: expected an object with the key 'subset', found 3"),
        (entry_with(subset=...), "video v2: expected an object with the key 'subset'"),
        (entry_with(annotations=...), "video v2: expected a list under 'annotations', found nothing"),
        (entry_with(duration="long"), "video v2: duration is 'long', which is no number"),
        (entry_with(annotations=[{"label": "Archery"}]), "video v2: expected .*found {'label': 'Archery'}"),
        (entry_with(annotations=[{"label": "Archery", "segment": [1, "x"]}]), "video v2: expected"),
        (entry_with(annotations=[{"label": "Archery", "segment": [7, 2]}]),
         "annotations: 1 of 3 segments that end before they start; the first is video v2.*start 7.0, end 2.0"),
        (entry_with(annotations=[{"label": "Archery", "segment": [0, math.nan]}]), "end is not a finite number"),
    ],
)  # fmt: skip
def test_bad_ground_truth_of_hacs_is_named(save, content, message):
    with pytest.raises(TadaError, match=f"truth.json: .*{message}"):
        read_ground_truth(save("truth.json", content))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,P01_11,00:00:01.0,soon,0,5", "line 5 cannot be read: video_id 'P01_11', .*'soon'"),
        ("a,P01_11,00:00:01.0,00:00:02.0,cut,5", "line 5 cannot be read"),
        ("a,P01_11,00:00:05.0,00:00:02.0,3,5", "end before they start; the first is video P01_11: verb 3, noun 5"),
    ],
)
def test_bad_ground_truth_of_ek100_is_named(save, row, message):
    path = save("EPIC_100_validation.csv", "\n".join([EK100_HEADING, *EK100_ROWS, row]))
    with pytest.raises(TadaError, match=f"EPIC_100_validation.csv: .*{message}"):
        read_ground_truth(path)


def test_what_official_evaluations_bear_is_noted(save):
    truth = entry_with(duration="12.0")
    truth["database"]["v5"] = {"subset": "validation", "annotations": [{"label": "Archery", "segment": [4, 4]}]}
    results = hacs_results()
    results["results"]["v3"] = [{"label": "Surfing", "score": 0.5, "segment": [0, 1]}]
    results["results"]["v1"] += [
        {"label": "Surfing", "score": 0.5, "segment": [0, 1]},
        {"label": WASH, "score": 0.01, "segment": [7, 7]},
        {"label": WASH, "score": 0.01, "segment": [-3, 4]},
    ]
    notes = "\n".join(score_files(save("truth.json", truth), save("predictions.json", results)).notes)
    for part in (
        "1 of 4 annotated segments have no length, so that they match nothing; the first: video v5",
        "1 of 4 annotated segments reach outside their video; the first: video v2: label Archery, start 5.0, end 15.0 "
        "(the video ends at 12 s)",
        "1 of 8 predictions are left out, since their videos are of another subset; the first: video v3",
        "1 of 3 videos have no predictions",
        "1 of 7 predictions have no length",
        "3 of 7 predictions reach outside their video; the first: video v1: start -3.0, end 4.0",
        "1 of 7 predictions are dropped",
        "2 of 7 predictions share their score with others of their class: these are ordered by video and time here",
    ):
        assert part in notes


def test_the_command_prints_a_table_and_writes_json(ek100, save, tmp_path):
    predictions, out = save("predictions.json", ek100_results()), tmp_path / "out" / "score.json"
    done = CliRunner().invoke(app, ["evaluate-detections", str(ek100), str(predictions), "--out", str(out)])
    assert done.exit_code == 0
    assert "@0.1" in done.stdout
    assert "noun" in done.stdout
    assert json.loads(out.read_text())["map"]["noun"]["average"] == pytest.approx(75.0)
    authors = CliRunner().invoke(app, ["evaluate-detections", str(ek100), str(predictions), "--protocol", "authors"])
    assert authors.stdout.startswith("EPIC-KITCHENS-100, the authors' protocol: ")
    predictions.write_text("{")
    failed = CliRunner().invoke(app, ["evaluate-detections", str(ek100), str(predictions)])
    assert failed.exit_code == 1
    assert failed.stderr.startswith(f"Error: {predictions}: not a JSON file")
