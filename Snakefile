# The suite's plan: paper tables and figures <- runs <- data. `snakemake --list` names the targets; see README.md.
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "workflow"))
import targets


configfile: targets.config_file()


report: "workflow/report.rst"


targets.check_config(config)
config["paper"] = targets.about_paper()
targets.use_this_python()
targets.remove_unreadable()


wildcard_constraints:
    dataset="[a-z0-9-]+",
    model="[a-z0-9+-]+",
    scale="mini|paper|first-release|later-release",
    seed="[0-9]+",


include: "workflow/rules/data.smk"
include: "workflow/rules/runs.smk"
include: "workflow/rules/complexity.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/sentences.smk"
include: "workflow/rules/overview.smk"


rule all:
    default_target: True
    input:
        targets.everything(),


onsuccess:
    targets.report_problems()
