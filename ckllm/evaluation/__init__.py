"""Datasets in, metrics out, reports."""
