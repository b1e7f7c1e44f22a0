"""Emotion models: every weight from the checkpoint, or an error; the scores its publisher's."""

from __future__ import annotations

import io
import os
import pickle
import wave
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from airgap.errors import AirgapError
from bundler.scan.files import judge_file
from runtime.engine.hardware import find_hardware
from runtime.engine.transcript import Segment, Transcript, Turn, Word

pytestmark = [pytest.mark.heavy, pytest.mark.speakers]


@pytest.fixture
def load():
    from runtime.engine.emotion.model import EmotionModel

    return lambda files: EmotionModel.from_buffers("tiny", files, find_hardware("cpu"))


def segment(start: float, end: float) -> Segment:
    return Segment(1, 0, start, end, " Well.", (), (), -0.1, 1.0, 0.0, 0.0)


def test_dimensions_are_those_of_the_published_class(dimensional, load, tone):
    model = load(dimensional.files())
    assert model.is_dimensional
    expected = np.clip(dimensional.reference(tone), 0, 1)
    assert list(model.scores(tone)) == ["arousal", "dominance", "valence"]
    np.testing.assert_allclose(list(model.scores(tone).values()), expected, atol=1e-6)
    assert len(set(model.scores(tone).values())) == 3  # no score is clipped to another's


def test_categories_from_an_old_pickle_are_those_of_the_published_class(categorical, load, tone):
    model = load(categorical.files())
    assert not model.is_dimensional
    raw = np.exp(categorical.reference(tone))
    np.testing.assert_allclose(list(model.scores(tone).values()), raw / raw.sum(), atol=1e-6)
    assert sum(model.scores(tone).values()) == pytest.approx(1)


def test_the_same_sound_gives_the_same_scores(dimensional, load, tone):
    model = load(dimensional.files())
    assert model.scores(tone) == model.scores(tone) == load(dimensional.files()).scores(tone)


def test_several_threads_may_ask_at_once(dimensional, load, tone):
    model = load(dimensional.files())
    alone = model.scores(tone)
    with ThreadPoolExecutor(4) as pool:
        assert all(scores == alone for scores in pool.map(model.scores, [tone] * 16))


def test_weights_leave_the_buffers_that_held_them(dimensional, load):
    files = dimensional.files()
    load(files)
    assert sorted(files) == ["config.json", "preprocessor_config.json"]


def test_segments_are_heard_in_stretches_and_averaged_by_length(
    dimensional, categorical, load, tone
):
    from runtime.engine.emotion.segments import emotions_of

    models = [load(dimensional.files()), load(categorical.files())]
    samples = np.concatenate([tone] * 8)  # 16 seconds: heard as twice 8
    brief, whole = emotions_of(models, samples, [segment(0.4, 0.5), segment(0, 16)])
    halves = [models[0].scores(half) for half in (samples[:128_000], samples[128_000:])]
    assert whole.arousal == pytest.approx(np.mean([half["arousal"] for half in halves]))
    assert brief.arousal == pytest.approx(models[0].scores(samples[:16_000])["arousal"])
    assert [label for label, _ in whole.categories] == sorted(
        dict(whole.categories), key=lambda label: -dict(whole.categories)[label]
    )
    assert set(whole.as_json()) == {"arousal", "dominance", "valence", "categories"}


def test_a_recording_of_a_few_samples_has_scores(dimensional, load, tone):
    from runtime.engine.emotion.segments import emotions_of

    (emotion,) = emotions_of([load(dimensional.files())], tone[:40], [segment(0, 30)])
    assert emotion.arousal is not None


def rewritten(files, change):
    """The weights with a change made to them."""
    import safetensors.torch

    weights = safetensors.torch.load(files["model.safetensors"])
    change(weights)
    return files | {"model.safetensors": safetensors.torch.save(weights)}


def test_the_stock_class_would_answer_at_random_and_is_not_asked(dimensional, load):
    """As transformers saves its own classes: another head, under other names."""

    def stock(weights):
        weights["projector.weight"] = weights.pop("classifier.dense.weight")
        weights["classifier.weight"] = weights.pop("classifier.out_proj.weight")

    with pytest.raises(AirgapError, match="its head is of no known kind: expected") as caught:
        load(rewritten(dimensional.files(), stock))
    assert "found classifier, classifier.dense, classifier.out_proj, projector" in str(caught.value)
    assert "name another repository" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.pop("classifier.dense.weight"), "'classifier.dense.weight' is missing"),
        (lambda w: w.pop("classifier.out_proj.bias"), "'classifier.out_proj.bias' is missing"),
        (lambda w: w.pop("wav2vec2.masked_spec_embed"), "'wav2vec2.masked_spec_embed' is missing"),
        (
            lambda w: w.update({"classifier.extra.bias": w["classifier.dense.bias"].clone()}),
            "'classifier.extra.bias' has no place",
        ),
        (
            lambda w: w.update({"classifier.out_proj.weight": w["classifier.dense.weight"] + 0}),
            r"'classifier.out_proj.weight' is \[32, 32\], not \[3, 32\]",
        ),
    ],
)
def test_any_weight_missing_left_over_or_misshapen_is_an_error(dimensional, load, change, said):
    with pytest.raises(AirgapError, match=said) as caught:
        load(rewritten(dimensional.files(), change))
    assert caught.value.exit_code == 1


def test_hundreds_of_wrong_weights_are_not_all_told(dimensional, load, as_configured):
    files = dimensional.files()
    files["config.json"] = as_configured(files["config.json"], num_hidden_layers=12)
    with pytest.raises(AirgapError, match=r"is missing, .*, and [0-9]+ more$"):
        load(files)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"model_type": "hubert"}, "'model_type': expected wav2vec2, found hubert"),
        ({"pooling_mode": "max"}, "'pooling_mode': expected mean, found max"),
        ({"id2label": None}, "does not name its outputs in 'id2label'"),
        ({"id2label": {"0": "a", "2": "b"}}, "does not name its outputs in 'id2label'"),
        ({"id2label": {"0": "a", "1": "a", "2": "b"}}, "gives two outputs one name"),
        ({"id2label": {"0": "a"}}, r"'classifier.out_proj.bias' is \[3\], not \[1\]"),
        ({"hidden_size": "wide"}, "cannot be read"),
    ],
)
def test_a_configuration_of_another_network_is_an_error(
    *, dimensional, load, as_configured, keys, said
):
    files = dimensional.files()
    files["config.json"] = as_configured(files["config.json"], **keys)
    with pytest.raises(AirgapError, match=said):
        load(files)


def test_another_sampling_rate_is_an_error(dimensional, load, as_configured):
    files = dimensional.files()
    name = "preprocessor_config.json"
    files[name] = as_configured(files[name], sampling_rate=8000)
    with pytest.raises(AirgapError, match=f"'{name}': expected 16000 Hz, found 8000"):
        load(files)


def test_a_missing_file_is_named(dimensional, load):
    files = dimensional.files()
    del files["model.safetensors"], files["preprocessor_config.json"]
    with pytest.raises(AirgapError) as caught:
        load(files)
    assert caught.value.message == (
        "model 'tiny' is incomplete: expected 'preprocessor_config.json', "
        "'model.safetensors' or 'pytorch_model.bin', found config.json"
    )


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "preprocessor_config.json"])
def test_a_file_cut_short_is_an_error(dimensional, load, file):
    files = dimensional.files()
    files[file] = files[file][: len(files[file]) // 2]
    with pytest.raises(AirgapError, match="model 'tiny' cannot be read: "):
        load(files)


class Runs:
    def __reduce__(self):
        return os.mkdir, ("it-ran",)


@pytest.mark.parametrize("content", [pickle.dumps(Runs(), 2), pickle.dumps([1, 2], 2), b"x"])
def test_a_pickle_of_anything_else_runs_nothing(
    *, categorical, load, content, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    files = categorical.files() | {"pytorch_model.bin": content}
    with pytest.raises(AirgapError, match="model 'tiny' cannot "):
        load(files)
    assert list(tmp_path.iterdir()) == []


def test_no_numbers_are_no_scores(dimensional, load, tone):
    model = load(
        rewritten(dimensional.files(), lambda w: w["classifier.dense.bias"].fill_(float("nan")))
    )
    with pytest.raises(AirgapError, match="it gave no numbers"):
        model.scores(tone)


def test_the_scan_passes_what_the_real_classes_save(dimensional, categorical):
    for tiny in (dimensional, categorical):
        for path in tiny.folder.iterdir():
            judged = judge_file(path, path.name)
            assert judged.findings == (), path.name


def test_the_scan_finds_code_in_a_checkpoint_as_torch_saves_it(categorical, tmp_path):
    import torch

    path = tmp_path / "pytorch_model.bin"
    torch.save({"classifier.dense.weight": Runs()}, path)
    (finding,) = judge_file(path, path.name).findings
    assert finding.rule == "pickle.global"
    assert "mkdir" in finding.reason


def test_each_speakers_part_of_a_segment_is_heard_by_itself(dimensional, load, tone):
    """As the server does it: the steps give an emotion for each segment of the answer."""
    from runtime.engine.speakers.merging import with_speakers
    from runtime.server import hearing

    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        for part in range(4):  # 8 seconds
            file.writeframes((tone * (8_000 * (1 + part))).astype("<i2").tobytes())
    recording = hearing.Recording(sound, "eight.wav", len(sound.getvalue()), 60.0)
    samples = hearing._decoded(recording).samples
    words = (Word(0.0, 3.8, " Well,", 1.0), Word(4.2, 8.0, " no.", 1.0))
    spoken = replace(segment(0, 8), text=" Well, no.", words=words)
    turns = (Turn(0.0, 4.0, "SPEAKER_00"), Turn(4.0, 8.0, "SPEAKER_01"))
    pieces = [hearing.Turns(turns, 0.1), spoken]
    model = load(dimensional.files())
    told = list(hearing._and_emotions(iter(pieces), recording, [model]))
    assert told[:2] == pieces
    whole = Transcript("tiny.en", "transcribe", "en", 1.0, 8.0, (spoken,))
    parts = with_speakers(whole, turns).segments
    assert [part.speaker for part in parts] == ["SPEAKER_00", "SPEAKER_01"]
    expected = [model.scores(samples[:60_800]), model.scores(samples[67_200:])]
    assert [one.as_json() for one in told[2:]] == [pytest.approx(one) for one in expected]
