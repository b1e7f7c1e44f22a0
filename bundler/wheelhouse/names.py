"""Names of wheels and sdists, and of the releases that they are of.

Source: https://packaging.python.org/en/latest/specifications/binary-distribution-format/ and
https://packaging.python.org/en/latest/specifications/source-distribution-format/.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from airgap.manifest import Artifact, File
from airgap.yaml_document import Form

if TYPE_CHECKING:
    from packaging.tags import Tag

SDIST: Final = ".tar.gz"

_PART: Final = r"[A-Za-z0-9][A-Za-z0-9_.]*"
_TAG: Final = r"[A-Za-z0-9_.]+"
_VERSION: Final = r"[A-Za-z0-9][A-Za-z0-9.!+_]*"

SOURCE: Final = Form(
    re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]*-{_VERSION}{re.escape(SDIST)}"), "the name of an sdist"
)
WHEEL: Final = Form(
    re.compile(rf"{_PART}-{_VERSION}(?:-[0-9][A-Za-z0-9_.]*)?-{_TAG}-{_TAG}-{_TAG}\.whl"),
    "the name of a wheel",
)
RELEASE: Final = Form(
    re.compile(rf"[a-z0-9]+(?:-[a-z0-9]+)*=={_VERSION}"), "NAME==VERSION, the name normalised"
)


@dataclass(frozen=True)
class WheelName:
    """What a wheel's name says.

    Attributes:
        name: of the project, normalised.
        version: of the release.
        platforms: the platforms that it fits: `any`, or `manylinux_…`.
        tag: every Python, ABI and platform that it fits, compressed (PEP 425).
    """

    name: str
    version: str
    platforms: tuple[str, ...]
    tag: str

    @classmethod
    def parse(cls, file: str) -> WheelName:
        """Take apart a name that `WHEEL` fits."""
        parts = file.removesuffix(".whl").split("-")
        tag = "-".join(parts[-3:])
        return cls(normalised(parts[0]), parts[1], tuple(parts[-1].split(".")), tag)

    def rank(self, ranks: Mapping[Tag, int]) -> int:
        """How well it fits a target, 0 best. Raises LookupError: it does not."""
        from packaging.tags import parse_tag  # noqa: PLC0415 - a lock is read without the extra

        fitting = [ranks[one] for one in parse_tag(self.tag) if one in ranks]
        if not fitting:
            raise LookupError(self.name)
        return min(fitting)

    @property
    def release(self) -> str:
        """`numpy==2.4.6`."""
        return f"{self.name}=={self.version}"


def release_of(artifact: Artifact, files: Iterable[File]) -> WheelName | None:
    """The release that an artifact is, as its wheels call it; None for what is none."""
    if artifact.role != "wheels":
        return None
    names = (file.path.rpartition("/")[2] for file in files)
    return next((WheelName.parse(name) for name in names if WHEEL.fits(name)), None)


def normalised(project: str) -> str:
    """A project's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", project).lower()


def project_of(file: str) -> str:
    """The normalised name of the project that a wheel or an sdist is of."""
    if file.endswith(SDIST):
        return normalised(file.removesuffix(SDIST).rpartition("-")[0])
    return normalised(file.partition("-")[0])


def release_of_sdist(file: str) -> str:
    """`NAME==VERSION` of the name of an sdist."""
    return f"{project_of(file)}=={file.removesuffix(SDIST).rpartition('-')[2]}"


def identity(release: str) -> str:
    """The id of a release's artifact: `torch==2.13.0+cpu` is `torch-2.13.0-cpu`."""
    return re.sub(r"[^a-z0-9._-]", "-", release.replace("==", "-").lower())
