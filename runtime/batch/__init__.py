"""Many recordings to text: a folder of them, or a list, in one run that may be broken off.

gathering     files, folders, patterns, lists -> recordings, and where their texts go
record        `airgap-run.json`: which text is of which recording, and what made it
ledger        the record of one folder while a run works in it, kept through a crash
texts         one recording: heard, written, signed for, recorded
pace          how far a run is, in seconds of audio
running       the recordings of a run: what is done is skipped, the rest heard, several at once
"""

__all__: list[str] = []
