"""Action classification: the clips of a run, and the scores of every view (section 5)."""
