"""The footer of a table of actions says how they are scored, and gives the other way's value."""

from tada.report.paper.tables import TABLES

HOW = "- **Actions**: a pair of a verb and a noun scores the product of their probabilities in each view"


def line(plant, name, **how):
    plant.build(name, specs=TABLES, **how)
    return next((text for text in plant.text(name).splitlines() if text.startswith("- **Actions**")), "")


def done(plant, model, joint, seed=0, **more):
    figures = dict.fromkeys((f"top{k}_{what}" for k in (1, 5) for what in ("action", "verb", "noun")), 30.0)
    plant.done(model, seed, dataset="ek100", **figures, **joint, **more)


def test_both_tables_of_actions_say_it_without_any_run(plant):
    for name in ("table6", "tableA2"):
        text = line(plant, name)
        assert text.startswith(HOW) and "averaged over the views (section 5.3)" in text and "joint" not in text


def test_the_joint_variant_is_given_for_each_row_that_is_there(plant):
    done(plant, "tsn", {"top1_action_joint": 28.456, "top5_action_joint": 51.0})
    assert line(plant, "table6").endswith("gives Top-1 Act.↑: tsn 28.46; Top-5 Act.↑: tsn 51.00.")
    done(plant, "tada2d", {"top1_action_joint": 40.0, "top5_action_joint": 60.0})
    assert "Top-1 Act.↑: tsn 28.46, tada2d 40.00; Top-5" in line(plant, "table6")
    assert "joint variant" in plant.text("table6", "tex") and "joint variant" in plant.text("table6", "html")


def test_seeds(plant):
    for seed, value in enumerate([40.0, 42.0]):
        done(plant, "tada2d", {"top1_action_joint": value, "top5_action_joint": value}, seed)
    assert "Top-1 Act.↑: tada2d 41.00 ± 1.41" in line(plant, "table6", seeds=2)


def test_tables_without_actions_do_not_say_it(plant):
    assert line(plant, "table5") == line(plant, "table2") == ""
