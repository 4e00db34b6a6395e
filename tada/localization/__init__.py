"""Temporal action localization (section 6): features of whole videos, proposals, their classes, and official scores."""
