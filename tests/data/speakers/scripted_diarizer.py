"""A back end that hears what its model file says: for tests of everything around back ends.

Its model is `turns.json` in the folder of the role `diarization`. SCRIPTED_FAULT in the
environment makes it fail, or wait, at every recording but the tone that a server tries it with.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airgap.errors import AirgapError, UsageError
from runtime.engine.speakers.turns import numbered
from runtime.engine.transcript import Turn

WARM_UP_SAMPLES = 4 * 16_000


class ScriptedDiarizer:
    name = "pyannote"
    most = 2

    def __init__(self, turns: tuple[Turn, ...]) -> None:
        self._turns = turns

    def diarize(self, samples: Any, hints: Any) -> tuple[Turn, ...]:
        hints.check()
        if hints.number and hints.number > self.most:
            raise UsageError(f"expected at most {self.most} speakers, found {hints.number}")
        fault = os.environ.get("SCRIPTED_FAULT", "")
        if fault == "fail" and len(samples) != WARM_UP_SAMPLES:
            raise AirgapError("telling speakers apart by script failed")
        if fault == "wait" and len(samples) != WARM_UP_SAMPLES:
            while not Path(os.environ["SCRIPTED_GATE"]).exists():
                time.sleep(0.02)
        return numbered(self._turns, len(samples) / 16_000)


def load(files: Mapping[str, Path], hardware: Any) -> ScriptedDiarizer:
    script = json.loads((files["diarization"] / "turns.json").read_text())
    return ScriptedDiarizer(tuple(Turn(*turn) for turn in script))
