rule audit:
    """The paper's numbers that follow from others of its numbers, recomputed; trains nothing."""
    input:
        spec="sentences/audit.yaml",
        tables=targets.table_specs(),
    output:
        md="tables/audit.md",
        tex="tables/audit.tex",
        csv="tables/audit.csv",
    log:
        "results/reports/audit.log",
    conda:
        "../../environment.yml"
    resources:
        here=1,
    shell:
        "python -m tada audit 2>&1 | tee {log}"
