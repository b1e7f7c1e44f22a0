"""Who speaks: recordings to turns, and turns onto what was said.

- `diarizer`: what every back end is asked, and what it answers.
"""
