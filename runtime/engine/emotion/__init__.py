"""How it was said: recordings and segments to scores, by verified wav2vec 2.0 models.

- `stretches`: which samples of a recording are heard for a segment.
- `network`: verified files -> a network in which every weight came from them.
- `model`: a network with its labels: samples -> scores.
- `segments`: the scores of each segment of a transcript.
"""

__all__: list[str] = []
"""Import the module that you need: `model` and `network` bring torch, which takes seconds."""
