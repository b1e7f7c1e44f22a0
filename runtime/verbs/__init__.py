"""The verbs of the isolated side, one a file: mount, list, transcribe."""

__all__: list[str] = []
