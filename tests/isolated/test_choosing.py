"""Which back end a bundle can run, and whether this host can; what is promised, and measured."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from airgap.errors import UsageError
from airgap.manifest import Artifact
from runtime import inventory
from runtime.engine.speakers import choosing
from runtime.engine.speakers.choosing import BackEnd, Diarization, carried, choose, promised

PYANNOTE = (("diarization", "pyannote"),)
NEMO = (("speaker-embedding", "nemo"), ("vad", "nemo"))
SORTFORMER = (("diarization", "nemo"),)


def artifacts(*models: tuple[str, str]) -> tuple[Artifact, ...]:
    return tuple(
        Artifact(f"model-{place}", role, engine, f"models/{place}", None, None, "MIT", gated=False)
        for place, (role, engine) in enumerate(models)
    )


def names(*models: tuple[str, str]) -> list[str]:
    return [choice.back_end.name for choice in carried(artifacts(*models))]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets this host have only the libraries of some back ends."""

    def only(*libraries: str) -> None:
        monkeypatch.setattr(BackEnd, "installed", property(lambda self: self.library in libraries))

    only("pyannote.audio", "nemo")
    return only


@pytest.fixture
def manifest(manifest_of: Any, contents: Any) -> Any:
    """Makes manifests of some models, with or without the promise."""

    def make(*models: tuple[str, str], promise: bool = False) -> Any:
        plain = manifest_of(contents)
        return replace(
            plain,
            artifacts=(*plain.artifacts, *artifacts(*models)),
            features={"diarization_enabled": promise},
        )

    return make


def test_a_back_end_is_carried_where_all_its_models_are() -> None:
    assert names() == []
    assert names(*PYANNOTE) == ["pyannote"]
    assert names(*NEMO) == ["nemo"]
    assert names(*SORTFORMER) == ["sortformer"]
    assert names(*NEMO[:1]) == []
    assert names(*NEMO[1:]) == []
    assert names(("speaker-embedding", "pyannote"), ("vad", "nemo")) == []
    assert names(*SORTFORMER, *NEMO, *PYANNOTE) == ["pyannote", "nemo", "sortformer"]


def test_of_two_models_none_is_guessed() -> None:
    assert names(*PYANNOTE, *PYANNOTE) == []
    assert names(*NEMO, ("vad", "nemo")) == []


def test_a_back_end_gets_its_models_by_role_and_no_others() -> None:
    models = (*PYANNOTE, ("segmentation", "pyannote"), ("plda", "pyannote"), *NEMO)
    (pyannote, nemo) = carried(artifacts(*models))
    assert list(pyannote.by_role) == ["diarization", "segmentation", "plda"]
    assert {one.engine for one in pyannote.artifacts} == {"pyannote"}
    assert list(nemo.by_role) == ["speaker-embedding", "vad"]


def test_auto_takes_the_first_that_the_bundle_carries_and_the_host_has(
    manifest: Any, installed: Any
) -> None:
    both = manifest(*NEMO, *PYANNOTE)
    assert choose(both, Diarization.AUTO).back_end.name == "pyannote"
    assert choose(both, Diarization.NEMO).back_end.name == "nemo"
    installed("nemo")
    assert choose(both, Diarization.AUTO).back_end.name == "nemo"


@pytest.mark.parametrize(
    ("models", "asked", "expected"),
    [
        (
            (),
            "auto",
            (
                "expected one model each of diarization of pyannote; or speaker-embedding and "
                "vad of nemo; or diarization of nemo; found asr of faster-whisper"
            ),
        ),
        (
            PYANNOTE,
            "nemo",
            (
                "expected one model each of speaker-embedding and vad of nemo; found asr of "
                "faster-whisper, diarization of pyannote"
            ),
        ),
    ],
)
def test_what_a_bundle_lacks_is_named(
    *, manifest: Any, installed: Any, models: Sequence[tuple[str, str]], asked: str, expected: str
) -> None:
    with pytest.raises(UsageError) as caught:
        choose(manifest(*models), Diarization(asked))
    assert caught.value.message == f"'ward-1.0.0' cannot tell speakers apart: {expected}"
    assert caught.value.hint is not None
    assert "diarization: nemo" in caught.value.hint


def test_a_library_that_is_missing_is_named_with_its_extra(manifest: Any, installed: Any) -> None:
    installed()
    with pytest.raises(UsageError) as caught:
        choose(manifest(*PYANNOTE), Diarization.AUTO)
    assert caught.value.message == (
        "'ward-1.0.0' tells speakers apart by pyannote, and pyannote.audio is not installed"
    )
    assert caught.value.hint == "pip install 'airgap-bundler[pyannote]'"
    assert caught.value.exit_code == 2


def test_a_server_keeps_the_promise_of_its_bundle_or_does_not_start(
    manifest: Any, installed: Any
) -> None:
    assert promised(manifest(), Diarization.AUTO) is None
    assert promised(manifest(*NEMO, promise=True), Diarization.NONE) is None
    kept = promised(manifest(*NEMO), Diarization.AUTO)
    assert kept is not None, "what is carried is served, promised or not"
    with pytest.raises(UsageError, match="cannot tell speakers apart"):
        promised(manifest(promise=True), Diarization.AUTO)
    with pytest.raises(UsageError, match="cannot tell speakers apart"):
        promised(manifest(), Diarization.PYANNOTE)
    installed()
    with pytest.raises(UsageError, match="nemo is not installed"):
        promised(manifest(*NEMO, promise=True), Diarization.AUTO)


@pytest.mark.parametrize(("library", "there"), [("json", True), ("no.such.library", False)])
def test_a_library_is_looked_for_and_not_imported(library: str, there: bool) -> None:
    assert replace(choosing.BACK_ENDS[0], library=library).installed is there


@pytest.mark.parametrize("promise", [True, False])
@pytest.mark.parametrize(("models", "measured"), [((), False), (NEMO, True), (NEMO[:1], False)])
def test_the_inventory_is_measured_and_not_believed(
    *, manifest: Any, models: Sequence[tuple[str, str]], measured: bool, promise: bool
) -> None:
    document = json.loads(inventory.of(manifest(*models, promise=promise), "code"))
    assert document["diarization_enabled"] is measured
