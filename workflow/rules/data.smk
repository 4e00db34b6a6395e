rule render:
    """Render the video files of a dataset at a scale without real videos, in the layout of the real one."""
    output:
        manifest="data/{scale}/{dataset}/manifest.json",
    log:
        "data/{scale}/{dataset}.log",
    wildcard_constraints:
        scale="|".join(scale for scale in targets.Scale if scale.renders),
    conda:
        "../../environment.yml"
    threads: targets.processors
    resources:
        here=1,
    params:
        spec=targets.render_spec,
    shell:
        "python -m tada render {wildcards.dataset} --scale {wildcards.scale} --workers {threads} "
        "--out data/{wildcards.scale}/{wildcards.dataset} 2>&1 | tee {log}"
