rule run:
    """Train and test one network, continuing where an interrupted attempt stopped; a failure is an outcome, too."""
    input:
        data=lambda wildcards: targets.run_inputs(wildcards, lambda file: workflow.persistence.metadata(IOFile(file))),
    output:
        outcome="results/{scale}/{dataset}/{model}/seed{seed}/outcome.json",
    log:
        "results/{scale}/{dataset}/{model}/seed{seed}/log.txt",
    conda:
        "../../environment.yml"
    threads: targets.run_threads
    resources:
        # Where the data lies changes no number, so it is no parameter.
        data_root=targets.data_root,
        weights=targets.weights,
        # Nor do what is logged beside it, and whether networks are compiled.
        tensorboard=targets.tensorboard,
        compiles=targets.compiles,
        # Nor does where it trains. On a cluster (profiles/slurm) this command only submits a job, or finds the one
        # there is, and waits.
        cluster="",
        queued=1,
    params:
        # Retraining is triggered by a changed configuration, never by edited code or files' dates. A failed attempt is
        # repeated at the next call.
        signature=targets.run_signature,
        attempt=targets.run_attempt,
    shell:
        "python -m tada run {wildcards.dataset} {wildcards.model} --scale {wildcards.scale} "
        "--seed {wildcards.seed} --data={resources.data_root:q} --weights={resources.weights:q} "
        "--cluster={resources.cluster:q} --attempt {params.attempt} --record-failure {resources.tensorboard} "
        "{resources.compiles}"


rule runs:
    """All runs and sizes that the paper's tables, figures and claims need, and no page: for long trainings, in parts."""
    input:
        targets.every_run,
