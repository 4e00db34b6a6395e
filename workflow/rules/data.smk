rule render_mini:
    """Render the small video files of a mini dataset, in the layout of the real one."""
    output:
        manifest="data/mini/{dataset}/manifest.json",
    log:
        "data/mini/{dataset}.log",
    conda:
        "../../environment.yml"
    threads: targets.processors
    resources:
        here=1,
    params:
        spec=targets.render_spec,
    shell:
        "python -m tada render {wildcards.dataset} --workers {threads} --out data/mini/{wildcards.dataset} "
        "2>&1 | tee {log}"
