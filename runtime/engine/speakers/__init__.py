"""Who speaks: recordings to turns, and turns onto what was said.

- `diarizer`: what every back end is asked, and what it answers.
- `choosing`: which back end a bundle can run, and this host.
- `turns`: labels that are alike whichever library heard them; RTTM.
- `merging`: each word to a turn, each segment to one speaker.
- `conversation`: an engine and a back end on one recording.
- `checkpoints`: read as data.
- `pyannote`, `pyannote_pipeline`; `nemo`, `sortformer`, `nemo_models`, `nemo_speech`,
  `nemo_exchange`: the back ends, each a module with `load(files, hardware)`, imported when it is
  chosen.
"""
