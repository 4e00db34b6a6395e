"""Specs of tables, figures and claims: what to show and which runs that takes. Imports no torch and no plotting."""

from tada.report.claims_spec import Claims, load_claims
from tada.report.figure_spec import Figure, figure_names, load_figure
from tada.report.table_spec import Table, load_table, table_names

PAGES = {
    "audit": "Audit: numbers of the paper that follow from others of its numbers, recomputed",
    "claims": "Claims: sentences of the paper as statements on measurements, with verdicts",
}
"""Pages on the paper's text beside the tables, and what they say."""

__all__ = [
    "PAGES",
    "Claims",
    "Figure",
    "Table",
    "figure_names",
    "load_claims",
    "load_figure",
    "load_table",
    "table_names",
]
