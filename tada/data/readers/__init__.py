"""One reader for each dataset: from the annotations and files on a user's disk to clips with labels."""
