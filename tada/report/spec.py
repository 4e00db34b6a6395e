"""Specs of tables and figures: what to show and which runs that takes. Imports no torch and no plotting."""

from tada.report.figure_spec import Figure, figure_names, load_figure
from tada.report.table_spec import Table, load_table, table_names

__all__ = ["Figure", "Table", "figure_names", "load_figure", "load_table", "table_names"]
