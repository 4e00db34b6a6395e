rule figure:
    """One figure of the paper as SVG, PDF and PNG, with its data as CSV."""
    input:
        spec=targets.specs("figures/{name}.yaml"),
        files=targets.figure_inputs,
    output:
        svg=report("figures/{name}.svg", category="Figures", labels=targets.about_figure),
        pdf="figures/{name}.pdf",
        png="figures/{name}.png",
        csv="figures/{name}.csv",
    log:
        "results/reports/{name}.log",
    conda:
        "../../environment.yml"
    resources:
        # Where the data lies changes no picture, so it is no parameter.
        data_root=targets.figure_data,
        here=1,
    params:
        scale=config["scale"],
        seeds=config["seeds"],
    shell:
        "python -m tada figure {wildcards.name} --scale {params.scale} --seeds {params.seeds} "
        "--data={resources.data_root:q} 2>&1 | tee {log}"
