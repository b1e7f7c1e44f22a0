"""NeMo's ClusteringDiarizer as a back end: real classes, real voice detection, untrained voices."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from airgap.errors import AirgapError, UsageError
from runtime.engine.audio import read_recording
from runtime.engine.hardware import Hardware
from runtime.engine.speakers import nemo, nemo_exchange, nemo_speech
from runtime.engine.speakers.diarizer import Diarizer, SpeakerHints
from runtime.engine.speakers.nemo_models import library, model_class
from runtime.engine.speakers.nemo_speech import SpeechDetector

pytestmark = [pytest.mark.speakers, pytest.mark.heavy]

CPU = Hardware("cpu", "float32", 1)


def test_real_voice_detection_hears_what_the_published_one_hears(
    marblenet: Path, onnx_marblenet: Path, conversation: Any
) -> None:
    import onnxruntime

    samples, _ = conversation
    here = SpeechDetector(marblenet / "model.nemo", CPU).probabilities(samples).numpy()
    session = onnxruntime.InferenceSession(str(onnx_marblenet), providers=["CPUExecutionProvider"])
    sound = (samples * 32768).astype(np.int16)[None, None]
    there = session.run(None, {"audio": sound})[1][0, :, 0]
    shared = min(len(here), len(there))
    assert abs(len(here) - len(there)) <= 1
    assert np.mean((here[:shared] > 0.5) == (there[:shared] > 0.5)) > 0.99


def test_speech_is_found_where_it_is(marblenet: Path, conversation: Any) -> None:
    samples, spoken = conversation
    heard = SpeechDetector(marblenet / "model.nemo", CPU).speech(samples)
    said, found = np.zeros(3000, bool), np.zeros(3000, bool)
    for start, end in spoken:
        said[int(start * 100) : int(end * 100)] = True
    for start, end in heard:
        found[int(start * 100) : int(end * 100)] = True
    assert np.sum(said & ~found) / np.sum(said) < 0.02, "missed"
    assert np.sum(found & ~said) / np.sum(said) < 0.08, "heard where nobody speaks"


@pytest.mark.parametrize("kind", ["marblenet", "windows"])
def test_blocks_hear_what_the_whole_would(
    kind: str,
    marblenet: Path,
    models: Mapping[str, Path],
    conversation: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = marblenet if kind == "marblenet" else models[kind]
    detector = SpeechDetector(folder / "model.nemo", CPU)
    samples = np.tile(conversation[0], 3)[: 16_000 * 75]
    blocks = detector.probabilities(samples)
    monkeypatch.setattr(nemo_speech, "BLOCK", 600)
    whole = detector.probabilities(samples)
    assert len(blocks) == len(whole)
    assert float((blocks - whole).abs().max()) < 1e-4


def test_turns_are_in_order_and_the_same_again(diarizer: Diarizer, conversation: Any) -> None:
    samples, _ = conversation
    samples.flags.writeable = False  # as the server's are
    turns = diarizer.diarize(samples, SpeakerHints(number=2))
    assert turns == diarizer.diarize(samples, SpeakerHints(number=2))
    assert list(dict.fromkeys(turn.speaker for turn in turns)) == ["SPEAKER_00", "SPEAKER_01"]
    assert [turn.start for turn in turns] == sorted(turn.start for turn in turns)
    assert all(type(turn.start) is float and 6 < turn.start < turn.end <= 30 for turn in turns)


def test_hints_are_honoured(diarizer: Diarizer, conversation: Any) -> None:
    samples, _ = conversation
    for hints, expected in (
        (SpeakerHints(number=1), 1),
        (SpeakerHints(number=3), 3),
        (SpeakerHints(at_most=1), 1),
        (SpeakerHints(at_least=2, at_most=2), 2),
    ):
        assert len({turn.speaker for turn in diarizer.diarize(samples, hints)}) == expected


def test_a_hint_that_cannot_be_honoured_is_refused(diarizer: Diarizer, conversation: Any) -> None:
    samples, _ = conversation
    with pytest.raises(UsageError, match="at least 2 speakers"):
        diarizer.diarize(samples, SpeakerHints(at_least=2))
    with pytest.raises(UsageError, match="told of 9 speakers, and could tell"):
        diarizer.diarize(samples[7 * 16_000 : 8 * 16_000], SpeakerHints(number=9))


def test_nobody_speaks_in_silence(diarizer: Diarizer, silence: Any) -> None:
    assert diarizer.diarize(silence, SpeakerHints()) == ()
    assert diarizer.diarize(silence, SpeakerHints(number=2)) == ()


@pytest.mark.parametrize("kind", ["frames", "windows"])
def test_voice_detection_of_either_kind(kind: str, models: Mapping[str, Path]) -> None:
    loaded = nemo.load({"speaker-embedding": models["titanet"], "vad": models[kind]}, CPU)
    noise = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)
    (turn,) = loaded.diarize(noise, SpeakerHints(number=1))
    assert turn.start == 0
    assert turn.end == pytest.approx(3, abs=0.1)
    for length in (1, 100, 1_600, 8_000):
        assert all(
            one.end <= length / 16_000 for one in loaded.diarize(noise[:length], SpeakerHints())
        )


def test_a_classifier_that_hears_nothing(models: Mapping[str, Path], conversation: Any) -> None:
    loaded = nemo.load({"speaker-embedding": models["titanet"], "vad": models["deaf"]}, CPU)
    assert loaded.diarize(conversation[0], SpeakerHints()) == ()


def test_nothing_is_said_and_nothing_left(
    models: Mapping[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Standard output is the transcript's; the models' folders are gone after loading."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    files = {
        role: shutil.copytree(models[name], tmp_path / name)
        for role, name in (("speaker-embedding", "titanet"), ("vad", "windows"))
    }
    loaded = nemo.load(files, CPU)
    for folder in files.values():
        shutil.rmtree(folder)
    noise = np.random.default_rng(0).normal(0, 0.1, 70 * 16_000).astype(np.float32)
    assert loaded.diarize(noise, SpeakerHints(at_most=2))
    assert capfd.readouterr() == ("", "")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_recordings_at_once_do_not_mix(diarizer: Diarizer, conversation: Any) -> None:
    samples, _ = conversation
    asked = [samples[: seconds * 16_000] for seconds in (30, 12, 20)]
    alone = [diarizer.diarize(one, SpeakerHints(at_most=2)) for one in asked]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda one: diarizer.diarize(one, SpeakerHints(at_most=2)), asked))
    assert together == alone


def test_a_recording_has_no_name_while_it_is_heard(tmp_path: Path) -> None:
    """So nothing of it stays where the process is killed."""
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    with nemo_exchange.sound_in(tmp_path, noise) as sound:
        assert np.abs(read_recording(sound).samples - noise).max() < 1e-4
        assert [path.name for path in tmp_path.iterdir()] == ["recording.wav"]
        assert sound.is_symlink()
        assert sound.stat().st_nlink == 0
    assert not sound.exists()


def test_a_failure_is_an_error_and_leaves_nothing(
    diarizer: Diarizer, conversation: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(
        diarizer._clustering._speaker_model,
        "forward",
        lambda **_: 1 / 0,  # type: ignore[attr-defined]
    )
    with pytest.raises(AirgapError, match="diarization by NeMo failed: division by zero"):
        diarizer.diarize(conversation[0], SpeakerHints())
    assert list(tmp_path.iterdir()) == []


def test_nearest_segments_are_the_library_s(diarizer: Diarizer) -> None:
    torch = library("torch")
    scales = [
        torch.stack([torch.arange(count) * shift, torch.arange(count) * shift + window], dim=1)
        for count, shift, window in ((30, 0.95, 1.9), (48, 0.6, 1.2), (1_500, 0.25, 0.5))
    ]
    middles = [scale.mean(dim=1) for scale in scales]
    table = [(one[None, :] - middles[-1][:, None]).abs().argmin(dim=1) for one in middles]
    for here, there in zip(nemo.nearest_segments(scales), table, strict=True):
        assert bool((here == there).all())


@pytest.mark.parametrize("segments", [1, 51, 2000, 2001, 2010, 4001, 57_600])
def test_the_last_part_is_as_full_as_the_others(segments: int) -> None:
    part = nemo._part(segments)
    rest = segments % part or part
    assert part <= max(51, nemo.SEGMENTS_AT_ONCE)
    assert segments <= part or rest > part * 0.9


def test_a_known_number_of_speakers_keep_their_labels_from_part_to_part(diarizer: Diarizer) -> None:
    """Four voices through NeMo's own long-form clustering, in two parts."""
    assert diarizer
    torch = library("torch")
    module = library("nemo.collections.asr.parts.utils.longform_clustering")
    count, generator = 1210, torch.Generator().manual_seed(0)
    who = torch.arange(count) // 7 % 4
    voices = torch.randn(4, 192, generator=generator)[who]
    starts = torch.arange(count) * 0.25
    labels = module.LongFormSpeakerClustering(cuda=False).forward_infer(
        embeddings_in_scales=voices + 0.6 * torch.randn(count, 192, generator=generator),
        timestamps_in_scales=torch.stack([starts, starts + 0.5], dim=1),
        multiscale_segment_counts=torch.tensor([count]),
        multiscale_weights=torch.tensor([[1.0]]),
        oracle_num_speakers=4,
        max_rp_threshold=0.25,
        sparse_search_volume=10,
        chunk_cluster_count=nemo.CLUSTERS_OF_A_PART,
        embeddings_per_chunk=count // 2,
    )
    theirs = [int(torch.bincount(who[labels == one]).max()) for one in labels.unique()]
    assert len(theirs) == 4
    assert sum(theirs) / count > 0.95


@pytest.mark.parametrize(
    "line",
    [
        "SPEAKER recording 1 0.0 1.0 <NA> <NA> speaker_0 <NA>",
        "SPEAKER other 1 0.0 1.0 <NA> <NA> speaker_0 <NA> <NA>",
        "SPEAKER recording 1 -1.0 1.0 <NA> <NA> speaker_0 <NA> <NA>",
        "SPEAKER recording 1 0.0 nan <NA> <NA> speaker_0 <NA> <NA>",
        "",
    ],
)
def test_another_answer_than_rttm_is_an_error(line: str) -> None:
    with pytest.raises(AirgapError, match="not RTTM"):
        list(nemo_exchange.read_rttm(f"{line}\n"))


def refused(files: Mapping[str, Path]) -> AirgapError:
    with pytest.raises(AirgapError) as caught:
        nemo.load(files, CPU)
    assert caught.value.exit_code == 1
    return caught.value


def test_what_is_missing_is_named(models: Mapping[str, Path], tmp_path: Path) -> None:
    good = {"speaker-embedding": models["titanet"], "vad": models["windows"]}
    assert "'vad'" in refused({"speaker-embedding": models["titanet"]}).message
    assert "expected one .nemo file, found none" in refused({**good, "vad": tmp_path}).message
    assert "absolute path" in refused({**good, "vad": Path("vad")}).message
    for name in ("a.nemo", "b.nemo"):
        (tmp_path / name).write_bytes(b"")
    assert "found 'a.nemo', 'b.nemo'" in refused({**good, "vad": tmp_path}).message


def test_a_model_of_another_class_is_named(models: Mapping[str, Path]) -> None:
    error = refused({"speaker-embedding": models["titanet"], "vad": models["titanet"]})
    assert "EncDecSpeakerLabelModel: expected EncDecFrameClassificationModel or" in error.message
    error = refused({"speaker-embedding": models["windows"], "vad": models["windows"]})
    assert "EncDecClassificationModel: expected EncDecSpeakerLabelModel" in error.message


def test_a_model_cut_short_is_an_error(models: Mapping[str, Path], tmp_path: Path) -> None:
    content = (models["titanet"] / "model.nemo").read_bytes()
    cut = tmp_path / "model.nemo"
    cut.write_bytes(content[: len(content) // 2])
    error = refused({"speaker-embedding": tmp_path, "vad": models["frames"]})
    assert str(cut) in error.message
    cut.write_bytes(b"not a tar")
    assert (
        "not a .nemo" in refused({"speaker-embedding": models["titanet"], "vad": tmp_path}).message
    )


def test_the_class_is_read_without_loading(models: Mapping[str, Path]) -> None:
    assert model_class(models["streaming"] / "model.nemo") == "SortformerEncLabelModel"
    with tarfile.open(models["streaming"] / "model.nemo") as archive:
        assert "./model_config.yaml" in archive.getnames()
