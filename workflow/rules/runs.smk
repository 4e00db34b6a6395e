rule run:
    """Train and test one network, continuing where an interrupted attempt stopped; a failure is an outcome, too."""
    input:
        data=targets.run_inputs,
    output:
        outcome="results/{scale}/{dataset}/{model}/seed{seed}/outcome.json",
    params:
        # Retraining is triggered by a changed configuration, never by edited code or files' dates. A failed attempt is
        # repeated at the next call.
        signature=targets.run_signature,
        attempt=targets.run_attempt,
    log:
        "results/{scale}/{dataset}/{model}/seed{seed}/log.txt",
    resources:
        # Where the data lies changes no number, so it is no parameter.
        data_root=targets.data_root,
    shell:
        "{PYTHON} -m tada run {wildcards.dataset} {wildcards.model} --scale {wildcards.scale} "
        "--seed {wildcards.seed} --data {resources.data_root:q} --attempt {params.attempt} --record-failure"
