"""Manifests -> every path that there is, and what it answers. What is not in here is not served.

The paths are those of the hub: `/api/models/ORG/NAME`, its `revision` and `tree`, and
`/ORG/NAME/resolve/REVISION/FILE`, where a revision is a commit, or `main`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from airgap.errors import UsageError
from airgap.manifest import Artifact, File
from runtime.generation import GENERATIONS, MOUNTS, Generation
from runtime.mirror.intact import Signed
from runtime.mirror.snapshot import (
    Content,
    Document,
    Snapshot,
    as_json,
    described,
    entries,
    entry,
    page,
)

MAIN: Final = "main"

_REPOSITORY: Final = re.compile(
    r"(?:[A-Za-z0-9_][A-Za-z0-9._-]{0,95}/)?[A-Za-z0-9_][A-Za-z0-9._-]{0,95}"
)
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Catalogue:
    """All that is served.

    Attributes:
        answers: what is at a path.
        trees: what is at a path when it is asked for with all folders below (`recursive`).
        revisions: the names of the states of each repository: commits, and `main`.
        generations: what it was made from: the number mounted, by the bundle's name.
        left_out: artifacts that have no place on a hub.
    """

    answers: Mapping[str, Document | Content]
    trees: Mapping[str, Document]
    revisions: Mapping[str, frozenset[str]]
    generations: Mapping[str, int]
    left_out: tuple[str, ...]

    @property
    def files(self) -> frozenset[Signed]:
        """Every file, under however many paths it is served."""
        return frozenset(one.signed for one in self.answers.values() if isinstance(one, Content))

    def find(self, path: str, *, recursive: bool) -> Document | Content | None:
        """What a path answers; None where there is nothing."""
        return (self.trees.get(path) if recursive else None) or self.answers.get(path)

    def why_not(self, path: str) -> str:
        """The hub's word for what is missing, by which its client tells people."""
        asked = path.removeprefix("/api/models").removeprefix("/")
        for repository, known in self.revisions.items():
            if asked == repository or asked.startswith(f"{repository}/"):
                _verb, _slash, rest = asked[len(repository) + 1 :].partition("/")
                revision = rest.partition("/")[0]
                return "EntryNotFound" if revision in known else "RevisionNotFound"
        return "RepoNotFound"


def of_mounts(mounts: Iterable[Generation]) -> Catalogue:
    """What these mounts carry that is on the hub.

    Raises:
        UsageError: nothing of them is, or two of them say different things about one file.
    """
    snapshots: dict[tuple[str, str], Snapshot] = {}
    generations: dict[str, int] = {}
    left_out = []
    for mounted in mounts:
        generations[mounted.statement.name] = mounted.number
        for artifact in mounted.manifest.artifacts:
            if _is_on_the_hub(artifact):
                _add(snapshots, mounted, artifact)
            else:
                left_out.append(artifact.id)
    if not snapshots:
        raise UsageError(
            f"expected models that have a repository, found none in: {', '.join(generations)}",
            hint="airgap list",
        )
    return _laid_out(snapshots, generations, tuple(left_out))


def _is_on_the_hub(artifact: Artifact) -> bool:
    return bool(
        artifact.repository
        and artifact.commit
        and _REPOSITORY.fullmatch(artifact.repository)
        and _COMMIT.fullmatch(artifact.commit)
    )


def _add(
    snapshots: dict[tuple[str, str], Snapshot], mounted: Generation, artifact: Artifact
) -> None:
    """Add the files of a snapshot; those that the build derived are not of that commit."""
    repository, commit = artifact.repository or "", artifact.commit or ""
    created = mounted.statement.created
    snapshot = snapshots.setdefault(
        (repository, commit),
        Snapshot(repository, commit, artifact.licence, artifact.gated, created),
    )
    snapshot.created = max(snapshot.created, created)
    derived = {one.path for one in mounted.manifest.derived}
    tree = f"{MOUNTS}/{mounted.statement.name}/{GENERATIONS}/{mounted.number:06}"
    for file in mounted.manifest.files_of(artifact):
        name = file.path.removeprefix(f"{artifact.path}/")
        if name == file.path or file.path in derived:
            continue
        content = _content(file, tree, commit)
        known = snapshot.files.setdefault(name, content)
        if known.signed.sha256 != file.sha256:
            raise UsageError(
                f"two bundles carry different bytes as '{name}' of {repository} at {commit}",
                hint="serve one of them: --bundle NAME",
            )


def _content(file: File, tree: str, commit: str) -> Content:
    return Content(
        signed=Signed(f"{tree}/{file.path}", file.size, file.sha256),
        etag=f'"{file.git_blob or file.sha256}"',
        commit=commit,
        large=file.git_blob is None,
    )


def _laid_out(
    snapshots: Mapping[tuple[str, str], Snapshot],
    generations: Mapping[str, int],
    left_out: tuple[str, ...],
) -> Catalogue:
    """Give every snapshot its paths: by commit, and the newest bundle's by `main`."""
    answers: dict[str, Document | Content] = {}
    trees: dict[str, Document] = {}
    revisions: dict[str, frozenset[str]] = {}
    for one in sorted(snapshots.values(), key=lambda snapshot: snapshot.created):
        for revision in (one.commit, MAIN):  # a later bundle's `main` takes the place
            _lay_out(one, revision, answers, trees)
        answers[f"/api/models/{one.repository}"] = described(one)
        known = revisions.get(one.repository, frozenset())
        revisions[one.repository] = known | {one.commit, MAIN}
    answers["/"] = Document(page(revisions), "text/plain; charset=utf-8")
    return Catalogue(answers, trees, revisions, generations, left_out)


def _lay_out(
    one: Snapshot,
    revision: str,
    answers: dict[str, Document | Content],
    trees: dict[str, Document],
) -> None:
    """The paths of a snapshot under one of its names; what they were before goes."""
    api, resolve = f"/api/models/{one.repository}", f"/{one.repository}/resolve/{revision}/"
    tree = f"{api}/tree/{revision}"
    for path in [
        path for path in answers if path == tree or path.startswith((resolve, f"{tree}/"))
    ]:
        del answers[path]
        trees.pop(path, None)
    answers[f"{api}/revision/{revision}"] = described(one)
    answers.update({resolve + name: content for name, content in one.files.items()})
    for folder in _folders(one.files):
        path = f"{tree}/{folder}".rstrip("/")
        below = {name: one.files[name] for name in one.files if name.startswith(folder)}
        answers[path] = as_json(entries(below, folder))
        trees[path] = as_json([entry(name, content) for name, content in below.items()])


def _folders(names: Iterable[str]) -> set[str]:
    """Every folder that holds a file, with a `/` at its end; the top is the empty one."""
    found = {""}
    for name in names:
        parts = name.split("/")
        found |= {"/".join(parts[:depth]) + "/" for depth in range(1, len(parts))}
    return found
