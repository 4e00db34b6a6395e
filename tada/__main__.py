"""`python -m tada` is the `tada` command."""

from tada.cli import app

app()
