"""Reproducibility suite for "TAda! Temporally-Adaptive Convolutions for Video Understanding" (ICLR 2022)."""

__version__ = "0.1.0"
