"""Tables whose numbers are counted while they are built: Table 1, Table A1, and a peer's network."""

from decimal import Decimal

import torch
from torch import nn

from tada.report.measure import values
from tada.report.paper.tables import TABLES


def verdicts(plant, name, specs):
    plant.build(name, specs=specs)
    return {key: cell["verdict"] for key, cell in plant.cells(name).items() if cell["verdict"]}


def test_table1_formulas_are_what_the_layers_have(plant):
    found = verdicts(plant, "table1", TABLES)
    assert len(found) == 7 * 2 + 3
    assert set(found.values()) == {"match"}
    cells = plant.cells("table1")
    assert cells["tadaconv", "params"]["reproduced"] == str(64 * 64 * 9 + 2 * 64 * 16 * 3)
    assert cells["tadaconv", "gflops"]["reproduced"] == "0.926793728"
    assert "Co × Ci × k² = 36,864" in plant.text("table1")


def test_a_wrong_formula_is_off(plant):
    right = (TABLES / "table1.yaml").read_text(encoding="utf-8")
    plant.spec(right.replace("params: Co × Ci × k³", "params: Co × Ci × k²", 1), "table1")
    assert verdicts(plant, "table1", plant.specs)["volumetric", "params"] == "off"
    assert plant.cells("table1")["volumetric", "params"]["difference"] == str(64 * 64 * 18)


def test_tableA1_is_what_the_networks_consist_of(plant):
    found = verdicts(plant, "tableA1", TABLES)
    assert len(found) == 6 * 4
    assert set(found.values()) == {"match"}
    assert plant.cells("tableA1")["res2", "r2plus1d"]["reproduced"] == "[1×1², 64; 1×3², 64; 3×1², 64; 1×1², 256] ×3"


def test_a_wrong_structure_is_off(plant):
    right = (TABLES / "tableA1.yaml").read_text(encoding="utf-8")
    plant.spec(right.replace("1×1², 1024] ×6", "1×1², 1024] ×5", 1), "tableA1")
    found = verdicts(plant, "tableA1", plant.specs)
    assert [key for key, verdict in found.items() if verdict == "off"] == [("res4", "r3d")]


def test_structures_of_other_networks_read_off_as_well():
    assert values.layers("tada2d", "res3") == values.layers("tsn", "res3")
    assert values.output_size("tada2d-16f", "res5") == "16×7×7"


def test_a_peers_gflops(monkeypatch):
    class Tiny(nn.Module):
        def __init__(self, num_classes):
            super().__init__()
            self.conv = nn.Conv3d(3, 4, (1, 3, 3), padding=(0, 1, 1))
            self.fc = nn.Linear(4, num_classes)

        def forward(self, x):
            return self.fc(torch.relu(self.conv(x)).mean((2, 3, 4)))

    monkeypatch.setitem(values.NETWORKS, "tiny", Tiny)
    assert values.gflops("tiny", 8, 16) == Decimal(8 * 16 * 16 * 3 * 4 * 9 + 4 * 400).scaleb(-9)
