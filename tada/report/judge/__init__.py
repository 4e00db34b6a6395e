"""Measured against reported: verdicts, noise, cells, order of rows, claims, audit."""
