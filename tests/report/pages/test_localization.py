"""Tables of localization: rows of tasks, and what stands under them of protocols, proposals and segments."""

import re

import pytest
from planting import plant_record

from tada.report.paper.tables import TABLES, load_table
from tada.runs.record import Initial, read_record

THRESHOLDS = {"hacs": [0.5 + 0.05 * step for step in range(10)], "ek100": [0.1, 0.2, 0.3, 0.4, 0.5]}
COUNTS = {"mini": {"hacs": 20, "ek100": 20}, "paper": {"hacs": 100, "ek100": 1000}}


@pytest.fixture
def locate(plant):
    """Plants a run of localization whose mAP is `level` at the lowest threshold, and 1 less at each of the next."""

    def located(dataset, model, level, recall=60.0, scale="mini", seed=0):
        recalls = {f"ar@{COUNTS[scale][dataset]}": recall, f"ar@{COUNTS[scale][dataset]}_uniform": 41.3}
        tasks = {"map": 0} if dataset == "hacs" else {"map_verb": 2, "map_noun": 1, "map_action": 0}
        values = {
            f"{task}@{threshold:g}": level + more - place
            for task, more in tasks.items()
            for place, threshold in enumerate(THRESHOLDS[dataset])
        }
        means = {task: level + more - (len(THRESHOLDS[dataset]) - 1) / 2 for task, more in tasks.items()}
        return plant.done(model, seed, scale, f"{dataset}-localization", **values, **means, **recalls)

    return located


def below(plant, about, name="table8"):
    text = next((line for line in plant.text(name).splitlines() if line.startswith(f"- **{about}**")), "")
    return text.removeprefix(f"- **{about}**: ")


@pytest.mark.parametrize("scale", ["mini", "paper"])
@pytest.mark.parametrize("name", ["table8", "tableA3"])
def test_every_number_of_the_paper_has_its_measurement_beside_it(name, scale, plant, locate):
    models = list(dict.fromkeys(row.group for row in load_table(name).rows))
    for place, model in enumerate(models):
        for dataset in THRESHOLDS:
            locate(dataset, model, 30.0 + 10 * place, scale=scale)
    assert plant.build(name, scale, specs=TABLES) == []
    cells = plant.cells(name)
    first, second = models
    assert float(cells[f"{first}/verb", "hacs_0.5"]["reproduced"]) == 30
    assert float(cells[f"{second}/verb", "hacs_0.9"]["reproduced"]) == 40 - 8
    assert float(cells[f"{second}/verb", "hacs"]["reproduced"]) == 40 - 4.5
    assert float(cells[f"{second}/verb", "ek100_0.1"]["reproduced"]) == 42
    assert float(cells[f"{second}/noun", "ek100_0.3"]["reproduced"]) == 41 - 2
    assert float(cells[f"{second}/action", "ek100"]["reproduced"]) == 40 - 2
    for kind in ("md", "tex", "html"):
        assert "nan" not in plant.text(name, kind).lower().replace("finance", "")


def test_protocols_are_told_without_any_run(plant):
    plant.build("table8", specs=TABLES)
    assert below(plant, "Protocol, hacs-localization").endswith(
        "of 0.5 to 0.95 in steps of 0.05; Avg. is the mean over all 10, of which 5 are shown."
    )
    assert below(plant, "Protocol, ek100-localization").endswith(
        "0.1 to 0.5 in steps of 0.1; Avg. is the mean over all 5."
    )
    assert "Proposals" not in plant.text("table8")
    plant.build("table6", specs=TABLES)
    assert "Protocol" not in plant.text("table6")


def test_the_official_metric_stands_beside_the_reported_number(plant, locate):
    plant.build("table8", specs=TABLES)
    about = "Verbs and nouns, ek100-localization"
    assert below(plant, about).endswith("ground truth, and so do the cells of verbs and nouns.")
    assert below(plant, "Verbs and nouns, hacs-localization") == ""
    run = locate("ek100", "tada2d", 20.0)
    plant_record(run, read_record(run).metrics | {"map_verb_official": 18.04, "map_noun_official": 17.0})
    plant.build("table8", specs=TABLES)
    assert below(plant, about).endswith(
        "which keeps them: tada2d verb 18.0 (reported: 16.78), noun 17.0 (reported: 17.39)."
    )


def test_proposals_stand_beside_uniform_windows(plant, locate):
    locate("hacs", "tsn", 30.0, recall=61.04)
    plant.build("table8", specs=TABLES)
    text = below(plant, "Proposals, hacs-localization")
    assert "of 20 proposals per video: tsn 61.0; of as many uniform sliding windows: 41.3." in text
    locate("hacs", "tada2d", 35.0, recall=64.96)
    locate("ek100", "tada2d", 35.0, recall=70.0)
    plant.build("table8", specs=TABLES)
    assert "tsn 61.0, tada2d 65.0; of as many" in below(plant, "Proposals, hacs-localization")
    assert "per video: tada2d 70.0; of as many" in below(plant, "Proposals, ek100-localization")
    for kind in ("tex", "html"):
        assert "uniform sliding windows: 41.3" in plant.text("table8", kind)


def test_seeds(plant, locate):
    for seed, recall in enumerate([60.0, 62.0]):
        locate("hacs", "tsn", 30.0, recall, seed=seed)
    plant.build("table8", seeds=2, specs=TABLES)
    assert "tsn 61.0 ± 1.4; of as many uniform sliding windows: 41.3 ± 0.0." in below(
        plant, "Proposals, hacs-localization"
    )


def test_counts_are_those_of_segments(plant, locate):
    locate("hacs", "tsn", 30.0)
    plant.build("table8", specs=TABLES)
    assert below(plant, "Data, hacs-localization") == (
        "train 99 of 100 segments used (1 skipped, named in metrics.json); validation 400 of 400 segments used"
    )


def test_given_features_are_told(plant, locate):
    locate("hacs", "tada2d", 30.0)
    run = locate("hacs", "tsn", 30.0)
    plant_record(run, read_record(run).metrics, initial=Initial("features", classifier="softmax regression"))
    plant.build("table8", specs=TABLES)
    text = below(plant, "Features, hacs-localization")
    assert re.match("those of tsn were given, .* classified by softmax regression", text)
    assert below(plant, "Features, ek100-localization") == ""
