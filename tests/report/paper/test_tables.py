"""Specs: every shipped one loads and names existing models; faults are told with file, key and nearest key."""

import subprocess
import sys

import pytest

from tada.base import TadaError
from tada.models.registry import model_names
from tada.report.paper.figures import figure_names, load_figure
from tada.report.paper.quantities import Difference, Metric, NetworkSize, Structure
from tada.report.paper.tables import load_table, table_names


@pytest.mark.parametrize("name", table_names())
def test_tables_name_existing_models(name):
    table = load_table(name)
    described = {one.model for one in table.quantities if isinstance(one, Structure)}
    named = {model for _, model in table.runs} | {model for model, _, _ in table.complexities} | described
    assert named <= set(model_names())
    assert all(set(row.cells) == {column.name for column in table.columns} for row in table.rows)


@pytest.mark.parametrize("name", figure_names())
def test_figures_name_existing_models(name):
    assert {model for _, model in load_figure(name).runs} <= set(model_names())


def test_table3b():
    table = load_table("table3b")
    assert len(table.runs) == 10
    assert table.complexities == set()
    cells = {(row.id, cell.column): cell for row, cell in table.cells()}
    top1 = cells["tada2d", "top1"]
    assert (top1.quantity, top1.reported) == (Metric("ssv2", ("tada2d",), "top1"), "63.8")
    assert top1.tolerance is None  # that is of released checkpoints
    delta = cells["tada2d", "delta"]
    assert delta.quantity == Difference(top1.quantity, Metric("ssv2", ("tsn",), "top1"))
    assert (delta.of, delta.base) == ("top1", "tsn")
    assert cells["tsn", "delta"].kind == "given"


def test_reported_deltas_follow_from_reported_accuracies():
    for name, base in (("table3b", 32.0),):
        for row in load_table(name).rows[1:]:
            assert float(row.cells["top1"].reported) - base == pytest.approx(float(row.cells["delta"].reported))


def test_table4_subtracts_the_baseline():
    table = load_table("table4")
    assert ("tsn", 400, 256) in table.complexities
    assert NetworkSize(("tada2d-k2",), "params", 400, 256, "tsn") in table.quantities


def test_ensembles_need_both_runs():
    assert load_table("table5").runs == {("ssv2", "tada2d"), ("ssv2", "tada2d-16f")}


def test_a_cell_may_differ_from_its_column():
    assert ("tsm", 400, 224) in load_table("table7").complexities


def test_peers_are_cited():
    cells = {(row.id, cell.column): cell for row, cell in load_table("table7").cells()}
    assert cells["i3d", "top1"].kind == "cited"
    assert cells["corrnet", "top5"].kind == "given"  # N/A


def test_the_list_of_figures_has_every_count_that_the_tables_print():
    listed = [row for row in load_table("complexity").rows if not row.id.startswith(("section", "footnote"))]
    counts = sum(
        isinstance(one, NetworkSize) for name in ("table2", "table4", "table7") for one in load_table(name).quantities
    )
    assert (
        sum(isinstance(row.cells["value"].quantity, NetworkSize) for row in listed) == counts + 3
    )  # and three of its own


def test_tasks_fill_in_metrics():
    names = {m.name for m in load_table("table8").quantities if m.dataset == "ek100-localization"}
    assert {"map_verb@0.1", "map_action@0.5", "map_noun"} <= names
    assert len(names) == 18


def test_planning_loads_nothing_heavy():
    code = (
        "import sys; from tada.report.paper import figures, sentences, tables;"
        "[tables.load_table(n) for n in tables.table_names()];"
        "figures.load_figure('figure3'), sentences.load_claims();"
        "print([m for m in ('torch', 'pandas', 'matplotlib', 'numpy') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


FAULTS = [
    (
        "dataset: ssv2",
        "datset: ssv2",
        "small.yaml: columns.top1: unknown key 'datset'; did you mean 'dataset'",
    ),
    ("dataset: ssv2", "dataset: ssv1", "columns.top1.dataset: unknown value 'ssv1'; did you mean 'ssv2'"),
    ("delta_of: top1", "delta_of: top2", "columns.delta.delta_of: unknown metric column 'top2'; did you mean 'top1'"),
    ("delta_of: top1", "delta_of: top1, layer: params", "columns.delta: delta_of and layer exclude each other"),
    ("base: tsn", "base: tsm", "rows.tada2d.base: unknown row 'tsm'; did you mean 'tsn'"),
    ('top1: "32.0"', "top1: hello", "rows.tsn.cells.top1: 'hello' is no number, and one is measured here"),
    ('top1: "32.0", ', "", "rows.tada2d.cells.delta: a difference of top1, which is not measured in both rows"),
    ("        base: tsn\n", "", "rows.tada2d.cells.delta: a difference to which row"),
    ("id: peer", "id: tsn", "rows: tsn: used by several rows"),
    ("{name: Peer (2020),", "{nam: Peer,", "rows.peer.cells: unknown column 'nam'; did you mean 'name'"),
    ('top1: "63.8"', "top1: 63.8", "small.yaml: rows.1.cells.top1: 63.8 is not of type"),
    ('top1: "63.8"', 'top1: {reportd: "63.8"}', "unknown key 'reportd'; did you mean 'reported'"),
    ("title: Table 0", "titel: Table 0", "unknown key 'titel'; did you mean 'title'"),
    ("metric: top1, ", "metric: 'top1_{task}', ", "needs a `task` in the row"),
    ("complexity: params, ", "complexity: flops, ", "unknown value 'flops'"),
]


@pytest.mark.parametrize(("right", "wrong", "message"), FAULTS)
def test_typos_are_named(plant, right, wrong, message):
    assert right in plant.small
    plant.spec(plant.small.replace(right, wrong, 1))
    with pytest.raises(TadaError) as error:
        load_table("small", plant.specs)
    assert message in str(error.value)
    assert "small.yaml" in str(error.value)


def test_unknown_names_get_the_nearest():
    with pytest.raises(TadaError, match=r"unknown table 'table3c'; did you mean .*'table3b'"):
        load_table("table3c")
    with pytest.raises(TadaError, match=r"unknown figure 'figure5'; did you mean .*'figure3'"):
        load_figure("figure5")
