"""Measurements of time and memory; not part of the tests, since they depend on the machine."""
