rule render_mini:
    """Render the small video files of a mini dataset, in the layout of the real one."""
    output:
        manifest="data/mini/{dataset}/manifest.json",
    params:
        spec=targets.render_spec,
    log:
        "data/mini/{dataset}.log",
    threads: workflow.cores
    shell:
        "{PYTHON} -m tada render {wildcards.dataset} --workers {threads} --out data/mini/{wildcards.dataset} "
        "2>&1 | tee {log}"
