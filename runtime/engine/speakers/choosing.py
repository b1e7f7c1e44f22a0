"""Which back end tells speakers apart: by what a bundle carries, and what this host has installed.

A bundle carries a back end where it has the models that it needs, each once. Nothing here imports
one: that costs seconds, and is done for the one that was chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from airgap.errors import UsageError
from airgap.extras import by_pip

if TYPE_CHECKING:
    from airgap.manifest import Artifact, Manifest

PROMISE: Final = "diarization_enabled"
"""The feature of a manifest that says that speakers can be told apart."""


class Diarization(StrEnum):
    """What an operator may ask for."""

    AUTO = "auto"
    NONE = "none"
    NEMO = "nemo"
    SORTFORMER = "sortformer"
    PYANNOTE = "pyannote"


@dataclass(frozen=True)
class BackEnd:
    """A way to tell speakers apart.

    Attributes:
        name: as on the command line.
        engine: of its models in a manifest.
        roles: of the models that it needs, one each.
        also: of models that it takes where they are there, one each.
        library: that it needs, as it is imported.
        distribution: what the library is called on the package index.
        extra: of ours that installs it.
        module: of ours, with `load(files, hardware)`: `files` maps each role to a folder.
    """

    name: str
    engine: str
    roles: tuple[str, ...]
    also: tuple[str, ...]
    library: str
    distribution: str
    extra: str
    module: str

    @property
    def installed(self) -> bool:
        """Whether this host has its library; it is not imported."""
        from importlib.util import find_spec  # noqa: PLC0415 - `airgap --help` has no use for it

        try:
            return find_spec(self.library) is not None
        except ModuleNotFoundError:  # the package around it
            return False


BACK_ENDS: Final = (
    BackEnd(
        "pyannote",
        "pyannote",
        ("diarization",),
        ("segmentation", "speaker-embedding", "plda"),
        "pyannote.audio",
        "pyannote.audio",
        "pyannote",
        "runtime.engine.speakers.pyannote",
    ),
    BackEnd(
        "nemo",
        "nemo",
        ("speaker-embedding", "vad"),
        (),
        "nemo",
        "nemo-toolkit",
        "nemo",
        "runtime.engine.speakers.nemo",
    ),
    BackEnd(
        "sortformer",
        "nemo",
        ("diarization",),
        (),
        "nemo",
        "nemo-toolkit",
        "nemo",
        "runtime.engine.speakers.sortformer",
    ),
)
"""In the order in which `auto` prefers them; Sortformer tells at most four speakers apart."""


@dataclass(frozen=True)
class Choice:
    """A back end with the models of a bundle that it loads.

    Attributes:
        by_role: the models.
    """

    back_end: BackEnd
    by_role: Mapping[str, Artifact]

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """The models, by their names."""
        return tuple(sorted(self.by_role.values(), key=lambda one: one.id))


def carried(artifacts: Iterable[Artifact]) -> tuple[Choice, ...]:
    """The back ends whose models are all there, in the order of preference."""
    there = tuple(artifacts)
    return tuple(choice for one in BACK_ENDS if (choice := _complete(one, there)) is not None)


def choose(manifest: Manifest, asked: Diarization, brings: Callable[[str], str] = by_pip) -> Choice:
    """The back end to tell speakers apart with.

    Args:
        manifest: of the bundle.
        asked: a back end, or `auto` for the first that the bundle carries and this host has.
        brings: the command that installs an extra; asked where the library is missing.

    Raises:
        UsageError: the bundle does not carry it, or its library is not installed; the message
            names what is missing.
    """
    title = f"{manifest.name}-{manifest.version}"
    found = [
        one for one in carried(manifest.artifacts) if asked in {Diarization.AUTO, one.back_end.name}
    ]
    if not found:
        wanted = [one for one in BACK_ENDS if asked in {Diarization.AUTO, one.name}]
        have = [f"{one.role} of {one.engine}" for one in manifest.artifacts if one.engine]
        raise UsageError(
            f"'{title}' cannot tell speakers apart: expected one model each of "
            f"{'; or '.join(map(_needs, wanted))}; found {', '.join(have) or 'none'}",
            hint="mount a bundle whose profile says `diarization: nemo` or `diarization: pyannote`",
        )
    for choice in found:
        if choice.back_end.installed:
            return choice
    first = found[0].back_end
    raise UsageError(
        f"'{title}' tells speakers apart by {' or '.join(one.back_end.name for one in found)}, and "
        f"{first.library} is not installed",
        hint=brings(first.extra),
    )


def promised(
    manifest: Manifest, asked: Diarization, brings: Callable[[str], str] = by_pip
) -> Choice | None:
    """What a server of this bundle must be able to do; None where that is nothing.

    With `auto` that is what the bundle promises or carries; `none` waives it. `brings` as `choose`.

    Raises:
        UsageError: as `choose`; a promise that cannot be kept is an error at start, never an
            answer without speakers.
    """
    if asked is Diarization.NONE:
        return None
    if asked is Diarization.AUTO and not (
        manifest.features.get(PROMISE) or carried(manifest.artifacts)
    ):
        return None
    return choose(manifest, asked, brings)


def _complete(back_end: BackEnd, artifacts: tuple[Artifact, ...]) -> Choice | None:
    """The back end with its models; None where one is missing, or there are two to choose from."""
    by_role = {}
    for role in (*back_end.roles, *back_end.also):
        found = [one for one in artifacts if (one.engine, one.role) == (back_end.engine, role)]
        if len(found) > 1 or (not found and role in back_end.roles):
            return None
        if found:
            by_role[role] = found[0]
    return Choice(back_end, MappingProxyType(by_role))


def _needs(back_end: BackEnd) -> str:
    return f"{' and '.join(back_end.roles)} of {back_end.engine}"
