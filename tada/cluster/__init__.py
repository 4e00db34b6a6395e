"""Where runs are executed: on this machine, or as jobs of a scheduler that are attached to, requeued and resumed."""
