"""Many recordings to text: a folder of them, or a list, in one run that may be broken off.

gathering     files, folders, patterns, lists -> recordings, and where their texts go
record        `airgap-run.json`: which text is of which recording, and what made it
ledger        the record of one folder while a run works in it, kept through a crash
running       the recordings of a run, several at once: skipped, transcribed, written, recorded
"""

__all__: list[str] = []
