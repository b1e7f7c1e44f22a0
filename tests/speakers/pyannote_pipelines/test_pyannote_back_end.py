"""The back end over pyannote's own classes: turns, hints, and what is refused before it runs."""

from __future__ import annotations

import importlib
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from airgap.errors import AirgapError, UsageError
from runtime.engine.hardware import Hardware
from runtime.engine.speakers import pyannote, pyannote_pipeline
from runtime.engine.speakers.diarizer import Diarizer, SpeakerHints

pytestmark = [pytest.mark.speakers, pytest.mark.heavy]

CPU = Hardware("cpu", "float32", 2)
SECONDS = 2.4


@pytest.fixture(scope="module")
def noise() -> Any:
    """A little more than two seconds that nobody may write to, as the server's are."""
    samples = np.random.default_rng(0).normal(0, 0.1, int(SECONDS * 16_000)).astype(np.float32)
    samples.flags.writeable = False
    return samples


@pytest.fixture(scope="module")
def loaded(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Diarizer:
    """Loaded from a copy that is gone, as private copies are."""
    copy = shutil.copytree(tiny, tmp_path_factory.mktemp("private") / "copy")
    diarizer = pyannote.load({"diarization": copy}, CPU)
    shutil.rmtree(copy)
    return diarizer


def refused(folder: Path, *others: Path) -> AirgapError:
    files = {"diarization": folder, **{f"part{n}": one for n, one in enumerate(others)}}
    with pytest.raises(AirgapError) as caught:
        pyannote.load(files, CPU)
    assert caught.value.exit_code == 1
    return caught.value


def test_overlapping_turns_in_order(loaded: Diarizer, noise: Any) -> None:
    turns = loaded.diarize(noise, SpeakerHints())
    assert [turn.speaker for turn in turns[:2]] == ["SPEAKER_00", "SPEAKER_01"]
    assert [turn.start for turn in turns] == sorted(turn.start for turn in turns)
    assert all(type(turn.start) is float and 0 <= turn.start < turn.end for turn in turns)
    assert max(turn.end for turn in turns) <= SECONDS + 0.1
    first, second = turns[:2]
    assert second.start < first.end, "both speak at once, and both must be told"
    assert turns == loaded.diarize(noise, SpeakerHints())


def test_nothing_in_nothing_out(loaded: Diarizer) -> None:
    assert loaded.diarize(np.zeros(0, np.float32), SpeakerHints()) == ()


@pytest.mark.parametrize("samples", [1, 400, 8_000])
def test_a_recording_shorter_than_a_window(loaded: Diarizer, noise: Any, samples: int) -> None:
    turns = loaded.diarize(noise[:samples], SpeakerHints())
    assert all(turn.end > turn.start for turn in turns)


def test_nobody_speaks(deaf: Path, noise: Any) -> None:
    silent = pyannote.load({"diarization": deaf}, CPU)
    assert silent.diarize(noise, SpeakerHints()) == ()
    assert silent.diarize(noise, SpeakerHints(number=2)) == ()


def test_hints_that_it_can_honour(loaded: Diarizer, noise: Any) -> None:
    for hints in (SpeakerHints(number=2), SpeakerHints(at_least=1, at_most=2)):
        assert {turn.speaker for turn in loaded.diarize(noise, hints)} == {
            "SPEAKER_00",
            "SPEAKER_01",
        }
    alone = loaded.diarize(noise, SpeakerHints(at_most=1))
    assert {turn.speaker for turn in alone} == {"SPEAKER_00"}


@pytest.mark.parametrize("hints", [SpeakerHints(number=9), SpeakerHints(at_least=9)])
def test_hints_that_it_cannot_honour(loaded: Diarizer, noise: Any, hints: SpeakerHints) -> None:
    with pytest.raises(UsageError, match=r"expected 9.*could tell 2 apart"):
        loaded.diarize(noise, hints)


def test_what_the_library_raises_is_ours(loaded: Diarizer) -> None:
    with pytest.raises(AirgapError, match="pyannote failed on this recording"):
        loaded.diarize(np.zeros((2, 3, 16_000), np.float32), SpeakerHints())


@pytest.mark.parametrize(
    ("part", "named", "says"),
    [
        ("segmentation", "pyannote/segmentation-3.0", "'pyannote/segmentation-3.0'"),
        ("embedding", "$model/embedding@main", "@main"),
        ("plda", "/opt/plda", "'/opt/plda'"),
        ("plda", "$model/../plda", "leads out of the bundle"),
        ("plda", "$model/segmentation", "lacks"),
    ],
)
def test_parts_that_lie_elsewhere(copied: Path, part: str, named: str, says: str) -> None:
    config = copied / "config.yaml"
    config.write_text(config.read_text().replace(f"{part}: $model/{part}", f"{part}: {named}"))
    message = refused(copied).message
    assert "config.yaml" in message
    assert f"'{part}'" in message
    assert says in message


def test_a_pipeline_without_a_plda_would_fetch_one(copied: Path) -> None:
    config = copied / "config.yaml"
    config.write_text(config.read_text().replace("    plda: $model/plda\n", ""))
    assert "means a repository" in refused(copied).message


def test_parts_in_another_verified_folder(copied: Path, noise: Any) -> None:
    pipeline = copied / "diarization/p"
    pipeline.mkdir(parents=True)
    config = (copied / "config.yaml").read_text().replace("$model/", "$model/../../")
    (pipeline / "config.yaml").write_text(config)
    assert "leads out" in refused(pipeline).message
    files = {"diarization": pipeline, **{part: copied / part for part in pyannote_pipeline.PARTS}}
    assert pyannote.load(files, CPU).diarize(noise, SpeakerHints())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is no configuration"),
        (b"pipeline: [", "is no configuration"),
        (b"pipeline: {name: os.system}", "expected the pipeline"),
        (None, "cannot read"),
    ],
)
def test_configurations_that_are_none(copied: Path, content: bytes | None, says: str) -> None:
    config = copied / "config.yaml"
    if content is None:
        config.unlink()
    else:
        config.write_bytes(content)
    assert says in refused(copied).message


class Runs:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> Any:
        return Path.touch, (self.proof,)


Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def resaved(copied: Path) -> Callable[[Change], Path]:
    """The pipeline with something else in the checkpoint of its segmentation."""

    def change(make: Change) -> Path:
        import torch

        path = copied / "segmentation/pytorch_model.bin"
        checkpoint = torch.load(path, weights_only=False)
        make(checkpoint)
        torch.save(checkpoint, path)
        return copied

    return change


def test_code_in_a_checkpoint_does_not_run(
    resaved: Callable[[Change], Path], tmp_path: Path
) -> None:
    proof = tmp_path / "it-ran"
    folder = resaved(lambda one: one.update(extra=Runs(proof)))
    assert "is no checkpoint of pyannote's" in refused(folder).message
    assert not proof.exists()


def test_a_checkpoint_may_not_have_a_function_called(
    resaved: Callable[[Change], Path], tmp_path: Path
) -> None:
    proof = tmp_path / "it-ran"
    sys.modules["called_by_a_checkpoint"] = called = type(sys)("called_by_a_checkpoint")
    called.it = lambda *_: proof.touch()  # type: ignore[attr-defined]
    name = "called_by_a_checkpoint.it"
    folder = resaved(lambda one: one["hyper_parameters"].update(_instantiator=name))
    try:
        assert "_instantiator" in refused(folder).message
        assert not proof.exists()
        # What would have happened: lightning calls it.
        library = importlib.import_module("pyannote.audio")
        library.Model.from_pretrained(folder / "segmentation/pytorch_model.bin", strict=False)
        assert proof.exists()
    except AttributeError:  # the function makes no model
        assert proof.exists()
    finally:
        del sys.modules["called_by_a_checkpoint"]


@pytest.mark.parametrize(
    ("module", "name", "says"),
    [
        ("torch.nn", "Linear", "none of pyannote's models"),
        ("os", "system", "none of pyannote's models"),
        ("lightning.pytorch", "LightningModule", "none of pyannote's models"),
        ("no.such.module", "Model", "not installed"),
        ("pyannote.audio.models.segmentation", "NoSuch", "not installed"),
    ],
)
def test_only_pyannotes_models_are_built(
    resaved: Callable[[Change], Path], module: str, name: str, says: str
) -> None:
    architecture = {"module": module, "class": name}
    folder = resaved(lambda one: one["pyannote.audio"].update(architecture=architecture))
    assert says in refused(folder).message


@pytest.mark.parametrize("content", [b"", b"PK", pickle.dumps({}), pickle.dumps([1])])
def test_checkpoints_that_are_none(copied: Path, content: bytes) -> None:
    (copied / "embedding/pytorch_model.bin").write_bytes(content)
    assert "embedding/pytorch_model.bin" in refused(copied).message


def test_a_truncated_checkpoint(copied: Path) -> None:
    path = copied / "segmentation/pytorch_model.bin"
    path.write_bytes(path.read_bytes()[:-1000])
    assert "segmentation/pytorch_model.bin" in refused(copied).message


def test_no_gpu_is_said_before_anything_loads(tiny: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(AirgapError, match="torch sees no GPU"):
        pyannote.load({"diarization": tiny}, Hardware("cuda", "float16", 2))


def run(program: str, *arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


LOAD = """
import sys
from pathlib import Path
from airgap.errors import AirgapError
from runtime.engine.hardware import Hardware
from runtime.engine.speakers import pyannote
def load(folder):
    try:
        pyannote.load({"diarization": Path(folder)}, Hardware("cpu", "float32", 2))
    except AirgapError as error:
        print(error.message, error.hint, sep="\\n")
"""


def test_neither_nemo_nor_telemetry(tiny: Path) -> None:
    program = """
load(sys.argv[1])
from pyannote.audio.telemetry.metrics import is_metrics_enabled
print([name for name in sys.modules if name.partition(".")[0] == "nemo"], is_metrics_enabled())
"""
    assert run(LOAD + program, tiny) == "[] False\n"


def test_torchaudio_for_cuda_on_a_host_without_it(tiny: Path, tmp_path: Path) -> None:
    broken = tmp_path / "torchaudio"
    (broken / "lib").mkdir(parents=True)
    (broken / "__init__.py").write_text(
        "raise OSError('libcudart.so.13: cannot open shared object file')"
    )
    said = run(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n" + LOAD + "load(sys.argv[1])", tiny
    )
    assert "pyannote does not start here: OSError: libcudart.so.13" in said
    assert "python -m runtime.torchaudio_cpu" in said
