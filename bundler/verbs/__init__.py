"""Verbs of the connected side that have a file of their own: build."""

__all__: list[str] = []
