rule table:
    """One table of the paper, reproduced beside reported, as Markdown, LaTeX, HTML and CSV."""
    input:
        spec=targets.specs("tables/{name}.yaml"),
        sentences=targets.sentences,
        files=targets.table_inputs,
    output:
        md="tables/{name}.md",
        tex="tables/{name}.tex",
        csv="tables/{name}.csv",
        html=report("tables/{name}.html", category="Tables", labels=targets.about_table),
    log:
        "results/reports/{name}.log",
    wildcard_constraints:
        name="(?!(audit|claims|settings)[.])[^/]+",  # pages of sentences.smk
    conda:
        "../../environment.yml"
    resources:
        here=1,
    params:
        scale=config["scale"],
        seeds=config["seeds"],
    shell:
        "python -m tada table {wildcards.name} --scale {params.scale} --seeds {params.seeds} 2>&1 | tee {log}"
