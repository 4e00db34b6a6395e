rule complexity:
    """Parameters and multiply-adds of a network at full size, by the paper's convention."""
    output:
        "results/complexity/{model}/{classes}x{resolution}.json",
    log:
        "results/complexity/{model}/{classes}x{resolution}.log",
    conda:
        "../../environment.yml"
    resources:
        here=1,
    params:
        definition=targets.model_definition,
    shell:
        "python -m tada complexity {wildcards.model} --classes {wildcards.classes} "
        "--resolution {wildcards.resolution} --out {output} 2> {log}"
