# The plan of all tables and figures. It stands in workflow/, where Snakemake's catalogue of workflows looks for it, too.
include: "workflow/Snakefile"


workflow.default_target = "all"  # Snakemake takes no default from a file that is included
