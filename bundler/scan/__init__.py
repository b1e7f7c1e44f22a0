"""Models judged before they are signed: what would run, reach out, or escape when they are loaded.

Nothing is unpickled, imported or extracted. What is known to be harmless passes; everything else is
a finding.

- `findings`: Finding, Severity
- `files`: one file, by its content, to the judge of its kind
- `pickles`, `allowed`: pickles by an allow-list of the globals that they name
- `zips`, `zip_layout`, `tars`: archives, and what is inside them
- `configs`: YAML and JSON: classes to be called, addresses, paths
- `weights`: safetensors, CTranslate2, NumPy
- `wheels`, `interpreters`, `elf`: programs that a bundle brings: where they go, what they link to
- `images`: container images, whole and as they say
- `verdict`: findings and a profile's policy -> refused, or the papers of the build
"""
