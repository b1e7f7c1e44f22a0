"""What of one bundle, or of several, a mirror has under which path."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from airgap.errors import UsageError
from airgap.manifest import Artifact
from runtime import generation
from runtime.mirror import catalogue
from runtime.mirror.catalogue import Catalogue
from runtime.mirror.snapshot import Content, Document

FIRST, SECOND = "1" * 40, "2" * 40


def files(commit: str, **contents: bytes) -> dict[str, bytes]:
    """A snapshot of org/name; `__` in a name stands for a folder."""
    folder = f"hf/hub/models--org--name/snapshots/{commit}"
    return {f"{folder}/{name.replace('__', '/')}": given for name, given in contents.items()}


def artifact(commit: str | None, repository: str | None = "org/name") -> Artifact:
    known = commit if commit in {FIRST, SECOND} else FIRST
    path = f"hf/hub/models--org--name/snapshots/{known}"
    return Artifact("tiny", "asr", "faster-whisper", path, repository, commit, "MIT", gated=True)


@pytest.fixture
def mounted(host: Any, write: Callable[..., Path]) -> Callable[..., Catalogue]:
    """Mounts bundles, given by name as the options of `write`, and reads what they carry."""

    def mounted(**bundles: dict[str, Any]) -> Catalogue:
        with ExitStack() as stack:
            for name, options in bundles.items():
                made = write(name, title=name, **options)
                said = host.airgap("mount", made)
                assert said.code == 0, said.err
            mounts = [stack.enter_context(generation.current(host.root, name)) for name in bundles]
            return catalogue.of_mounts(mounts)

    return mounted


def test_folders_are_listed_with_and_without_what_is_below(mounted: Any) -> None:
    contents = files(FIRST, top=b"1", onnx__model=b"22", onnx__more__deep=b"333")
    found = mounted(ward={"contents": contents, "artifacts": (artifact(FIRST),)})

    def listed(path: str, *, recursive: bool) -> list[tuple[str, str]]:
        document = found.find(f"/api/models/org/name/tree/{path}", recursive=recursive)
        assert isinstance(document, Document)
        return [(one["type"], one["path"]) for one in json.loads(document.body)]

    everything = [("file", name) for name in ("onnx/model", "onnx/more/deep", "top")]
    assert listed("main", recursive=True) == everything
    assert listed(FIRST, recursive=True) == everything
    assert listed("main", recursive=False) == [("directory", "onnx"), ("file", "top")]
    assert listed("main/onnx", recursive=False) == [
        ("file", "onnx/model"),
        ("directory", "onnx/more"),
    ]
    assert listed("main/onnx/more", recursive=True) == [("file", "onnx/more/deep")]
    assert found.find("/api/models/org/name/tree/main/on", recursive=True) is None


def test_main_is_what_the_newest_bundle_carries(mounted: Any) -> None:
    old, new = "2026-01-02T03:04:05Z", "2026-02-02T03:04:05Z"
    found = mounted(
        younger={
            "contents": files(FIRST, a=b"new"),
            "artifacts": (artifact(FIRST),),
            "created": new,
        },
        older={
            "contents": files(SECOND, a=b"old", gone=b"-"),
            "artifacts": (artifact(SECOND),),
            "created": old,
        },
    )
    assert found.revisions == {"org/name": {FIRST, SECOND, "main"}}
    assert found.generations == {"younger": 1, "older": 1}

    def commit(path: str) -> str:
        content = found.find(path, recursive=False)
        assert isinstance(content, Content)
        return content.commit

    assert commit("/org/name/resolve/main/a") == FIRST
    assert commit(f"/org/name/resolve/{SECOND}/a") == SECOND
    assert commit(f"/org/name/resolve/{SECOND}/gone") == SECOND
    assert found.find("/org/name/resolve/main/gone", recursive=False) is None
    (described,) = (found.answers["/api/models/org/name"],)
    assert isinstance(described, Document)
    assert json.loads(described.body)["sha"] == FIRST
    assert json.loads(described.body)["gated"] == "manual"  # its terms still hold


def test_bundles_that_carry_parts_of_one_commit_are_one(mounted: Any) -> None:
    found = mounted(
        one={"contents": files(FIRST, a=b"a", b=b"b"), "artifacts": (artifact(FIRST),)},
        two={"contents": files(FIRST, b=b"b", c=b"c"), "artifacts": (artifact(FIRST),)},
    )
    paths = {path for path in found.answers if path.startswith("/org/name/resolve/main/")}
    assert {path[-1] for path in paths} == {"a", "b", "c"}
    assert sorted(file.place[-1] for file in found.files) == ["a", "b", "c"]


def test_bundles_that_contradict_each_other_are_refused(mounted: Any) -> None:
    with pytest.raises(UsageError, match="two bundles carry different bytes as 'a' of org/name"):
        mounted(
            one={"contents": files(FIRST, a=b"a"), "artifacts": (artifact(FIRST),)},
            two={"contents": files(FIRST, a=b"A"), "artifacts": (artifact(FIRST),)},
        )


STRANGE = {
    "no repository": (None, FIRST),
    "no commit": ("org/name", None),
    "a branch for a commit": ("org/name", "main"),
    "a header in a commit": ("org/name", f"{FIRST}\r\nX: y"),
    "a path in a repository": ("../etc", FIRST),
    "a line in a repository": ("org/name\n", FIRST),
    "an encoded repository": ("org/%2e%2e", FIRST),
    "three parts": ("a/b/c", FIRST),
}


@pytest.mark.parametrize("name", STRANGE)
def test_what_has_no_place_on_a_hub_is_left_out(name: str, mounted: Any) -> None:
    repository, commit = STRANGE[name]
    given = {
        "contents": files(FIRST, a=random.Random(1).randbytes(9)),  # noqa: S311 - no secret
        "artifacts": (artifact(commit, repository),),
    }
    with pytest.raises(UsageError, match="expected models that have a repository, found none"):
        mounted(ward=given)
