rule overview:
    """One page that holds every table, figure and sentence, with verdicts and cost in front."""
    input:
        targets.overview_inputs,
    output:
        report("results/overview.html", category="Overview", labels={"page": "overview"}),
    log:
        "results/reports/overview.log",
    conda:
        "../../environment.yml"
    resources:
        here=1,
    params:
        scale=config["scale"],
        seeds=config["seeds"],
    shell:
        "python -m tada overview --scale {params.scale} --seeds {params.seeds} --out {output} 2>&1 | tee {log}"
