"""The verbs of the connected side, one a file: plan, lock, fetch, build."""

__all__: list[str] = []
