"""Quantities measured: from the records of runs, from built networks and from scores."""
