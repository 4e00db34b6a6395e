"""Pictures of the paper's figures, one file for each kind."""
