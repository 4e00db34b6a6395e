rule audit:
    """The paper's numbers that follow from others of its numbers, recomputed; trains nothing."""
    input:
        spec=targets.specs("audit.yaml"),
        tables=targets.table_specs(),
    output:
        md="tables/audit.md",
        tex="tables/audit.tex",
        csv="tables/audit.csv",
        html=report("tables/audit.html", category="Sentences", labels={"page": "audit"}),
    log:
        "results/reports/audit.log",
    conda:
        "../../environment.yml"
    resources:
        here=1,
    shell:
        "python -m tada audit 2>&1 | tee {log}"


rule settings:
    """Every value of the paper-scale recipes beside what is published for it; trains nothing."""
    input:
        spec=targets.sourced_files(),
    output:
        md="tables/settings.md",
        tex="tables/settings.tex",
        csv="tables/settings.csv",
        html=report("tables/settings.html", category="Sentences", labels={"page": "settings"}),
    log:
        "results/reports/settings.log",
    conda:
        "../../environment.yml"
    resources:
        here=1,
    shell:
        "python -m tada settings 2>&1 | tee {log}"


rule claims:
    """Sentences of the paper as statements on runs and networks, with verdicts."""
    input:
        spec=targets.specs("claims.yaml"),
        tables=targets.table_specs(),
        files=targets.claims_inputs,
    output:
        md="tables/claims.md",
        tex="tables/claims.tex",
        csv="tables/claims.csv",
        html=report("tables/claims.html", category="Sentences", labels={"page": "claims"}),
    log:
        "results/reports/claims.log",
    conda:
        "../../environment.yml"
    resources:
        here=1,
    params:
        scale=config["scale"],
        seeds=config["seeds"],
    shell:
        "python -m tada claims --scale {params.scale} --seeds {params.seeds} 2>&1 | tee {log}"
