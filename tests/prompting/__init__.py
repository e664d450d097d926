"""Prompts and templates."""
