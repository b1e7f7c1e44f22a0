"""The verbs of the isolated side, one a file: mount, list, transcribe, serve, apikey."""

__all__: list[str] = []
