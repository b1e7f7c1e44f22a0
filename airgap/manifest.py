"""The manifest: the inventory of a bundle, covered by its signatures.

`Manifest.parse(manifest.to_bytes()) == manifest`, and no other bytes parse: what a person reads
in `manifest.json` is, byte for byte, what is signed for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from airgap import limits, strict_json
from airgap.digest import is_sha256
from airgap.errors import DamagedError
from airgap.paths import collisions, member_defect
from airgap.statement import Base, Statement
from airgap.strict_json import Fields, is_name, is_time

FORMAT: Final = 1

ROLES: Final = (
    "asr",
    "vad",
    "segmentation",
    "speaker-embedding",
    "plda",
    "diarization",
    "emotion",
    "wheels",
    "python",
    "image",
    "sample",
)


@dataclass(frozen=True)
class Artifact:
    """One model (or wheelhouse, or sample) in a bundle.

    Attributes:
        id: its name inside the bundle.
        role: what it is for, one of `ROLES`.
        engine: what loads it (`faster-whisper`, `nemo`, `pyannote`, …); None for plain files.
        path: the folder, inside the tree, that its files lie in.
        repository, commit: where it is published, and which state of it; None where it is not.
        licence: as its publisher names it.
        gated: whether its publisher asks for terms to be accepted first.
    """

    id: str
    role: str
    engine: str | None
    path: str
    repository: str | None
    commit: str | None
    licence: str
    gated: bool

    @classmethod
    def read(cls, fields: Fields) -> Artifact:
        """Take the object apart; defects go where `fields` collects them."""
        artifact = cls(
            id=fields.text("id", is_name, "a name"),
            role=fields.text("role", ROLES.__contains__, " or ".join(ROLES)),
            engine=fields.optional_text("engine", is_name, "a name"),
            path=fields.text("path", lambda path: not member_defect(f"{path}/x"), "a folder"),
            repository=fields.optional_text("repository"),
            commit=fields.optional_text("commit"),
            licence=fields.text("licence"),
            gated=fields.flag("gated"),
        )
        fields.close()
        return artifact


@dataclass(frozen=True)
class File:
    """A file of the tree, and the range of the payload that holds it.

    Attributes:
        path: where it lies in the tree.
        size: in bytes.
        sha256: of its bytes, hex.
        git_blob: git's name for its bytes, where the publisher gave it.
        offset: of its first byte in the payload; None where a delta leaves it to its base.
        artifact: the artifact that it belongs to; None for the bundle's own papers.
    """

    path: str
    size: int
    sha256: str
    git_blob: str | None
    offset: int | None
    artifact: str | None

    @classmethod
    def read(cls, fields: Fields) -> File:
        """Take the object apart; defects go where `fields` collects them."""
        file = cls(
            path=fields.text("path"),
            size=fields.integer("size"),
            sha256=fields.text("sha256", is_sha256, "64 hex digits"),
            git_blob=fields.optional_text("git_blob", _is_git_id, "40 hex digits"),
            offset=fields.optional_integer("offset"),
            artifact=fields.optional_text("artifact"),
        )
        fields.close()
        return file


@dataclass(frozen=True)
class Derived:
    """A file that the build made: by which rule, from what. Nothing is rewritten on the host."""

    path: str
    rule: str
    sources: tuple[str, ...]

    @classmethod
    def read(cls, fields: Fields) -> Derived:
        """Take the object apart; defects go where `fields` collects them."""
        derived = cls(
            fields.text("path"), fields.text("rule"), fields.texts("sources", limits.FILES)
        )
        fields.close()
        return derived


@dataclass(frozen=True)
class Exemption:
    """Something that a check would have refused, or that was not checked, and why."""

    subject: str
    reason: str

    @classmethod
    def read(cls, fields: Fields) -> Exemption:
        """Take the object apart; defects go where `fields` collects them."""
        exemption = cls(fields.text("subject"), fields.text("reason"))
        fields.close()
        return exemption


@dataclass(frozen=True)
class Check:
    """What a check of the builder found: its verdict, and what was exempt from it."""

    verdict: str
    exempt: tuple[Exemption, ...]

    @classmethod
    def read(cls, fields: Fields) -> Check:
        """Take the object apart; defects go where `fields` collects them."""
        exempt = tuple(Exemption.read(one) for one in fields.objects("exempt", limits.FILES))
        check = cls(fields.text("verdict"), exempt)
        fields.close()
        return check


@dataclass(frozen=True)
class Manifest:
    """The inventory of a bundle.

    Attributes:
        name, version, sequence, created, expires, base: as in the statement, which must agree.
        profile: name of the profile.
        profile_sha256, lock_sha256: digests of the two files that the build was made from.
        built_with: name and version of what decided the bytes (airgap, zstd).
        platform: what the bundle's programs run on, `any` where it carries models alone.
        features: what the bundle promises (`diarization_enabled`).
        artifacts, files, derived: what is inside, files ascending by offset.
        built: files that the build made from source, which no lock can name.
        scan, dry_load: what the builder's checks found; None where the build did not run them.
    """

    name: str
    version: str
    sequence: int
    created: str
    expires: str | None
    base: Base | None
    profile: str
    profile_sha256: str
    lock_sha256: str
    built_with: Mapping[str, str]
    platform: str
    features: Mapping[str, bool]
    artifacts: tuple[Artifact, ...]
    files: tuple[File, ...]
    derived: tuple[Derived, ...]
    built: tuple[str, ...]
    scan: Check | None
    dry_load: Check | None

    def to_bytes(self) -> bytes:
        """The one serialisation: sorted keys, two spaces, one final newline."""
        return strict_json.readable({"format": FORMAT, **asdict(self)})

    @property
    def title(self) -> str:
        """`NAME-VERSION`, as the bundle's file is called."""
        return f"{self.name}-{self.version}"

    @property
    def carried(self) -> tuple[File, ...]:
        """The files that the bundle holds; all of them, unless it is a delta."""
        return tuple(file for file in self.files if file.offset is not None)

    @property
    def left_to_base(self) -> tuple[File, ...]:
        """The files that a delta leaves to its base."""
        return tuple(file for file in self.files if file.offset is None)

    def files_of(self, artifact: Artifact) -> tuple[File, ...]:
        """The files of one artifact, in the bundle's order."""
        return tuple(file for file in self.files if file.artifact == artifact.id)

    def contradictions(self, statement: Statement) -> list[str]:
        """Where the manifest says other than the statement that names its digest."""
        keys = ("name", "version", "sequence", "created", "expires", "base")
        return [
            f"{key}: the statement says {getattr(statement, key)!r}, the manifest {mine!r}"
            for key in keys
            if (mine := getattr(self, key)) != getattr(statement, key)
        ]

    @classmethod
    def parse(cls, content: bytes) -> Manifest:
        """Parse the very bytes whose digest the statement names.

        Raises:
            DamagedError: with every defect, sorted.
        """
        defects: list[str] = []
        try:
            manifest = cls._read(strict_json.parse(content), defects)
        except strict_json.JsonError as error:
            raise _defective([str(error)]) from error
        if not defects:
            defects = [*_file_defects(manifest), *_reference_defects(manifest)]
        if not defects and manifest.to_bytes() != content:
            defects = ["it is not in canonical form"]
        if defects:
            raise _defective(defects)
        return manifest

    @classmethod
    def _read(cls, value: Any, defects: list[str]) -> Manifest:
        top = Fields(value, "", defects)
        top.integer("format", FORMAT, FORMAT)
        base, scan, dry_load = (top.optional_inner(key) for key in ("base", "scan", "dry_load"))
        built_with, features = top.inner("built_with"), top.inner("features")
        manifest = cls(
            name=top.text("name", is_name, "a name"),
            version=top.text("version", is_name, "a version"),
            sequence=top.integer("sequence"),
            created=top.text("created", is_time, "a time"),
            expires=top.optional_text("expires", is_time, "a time"),
            base=Base.read(base) if base else None,
            profile=top.text("profile", is_name, "a name"),
            profile_sha256=top.text("profile_sha256", is_sha256, "64 hex digits"),
            lock_sha256=top.text("lock_sha256", is_sha256, "64 hex digits"),
            built_with={key: built_with.text(key) for key in built_with.keys()},  # noqa: SIM118 - not a dict
            platform=top.text("platform", is_name, "a platform"),
            features={key: features.flag(key) for key in features.keys()},  # noqa: SIM118 - not a dict
            artifacts=tuple(Artifact.read(one) for one in top.objects("artifacts", limits.FILES)),
            files=tuple(File.read(one) for one in top.objects("files", limits.FILES)),
            derived=tuple(Derived.read(one) for one in top.objects("derived", limits.FILES)),
            built=top.texts("built", limits.FILES),
            scan=Check.read(scan) if scan else None,
            dry_load=Check.read(dry_load) if dry_load else None,
        )
        top.close()
        return manifest


def _file_defects(manifest: Manifest) -> list[str]:
    """Paths that may not be, or collide, or claim to be the manifest itself; gaps in a full one."""
    defects = [
        f"file '{file.path}' {defect}"
        for file in manifest.files
        if (defect := member_defect(file.path))
    ]
    paths = [file.path for file in manifest.files]
    defects += collisions(["manifest.json", *paths])
    return [*defects, *_delta_defects(manifest)]


def _delta_defects(manifest: Manifest) -> list[str]:
    """Files that no base is there for; a base that cannot be one; one content of two sizes.

    The bytes of a file that is left to the base are found by its digest, so nothing but this
    would notice that it is listed with another size.
    """
    sizes = {file.sha256: file.size for file in manifest.files}
    defects = [
        f"file '{file.path}' has {file.size} bytes, and another of the same SHA-256 has "
        f"{sizes[file.sha256]}"
        for file in manifest.files
        if sizes[file.sha256] != file.size
    ]
    if manifest.base is None:
        return defects + [
            f"file '{file.path}' has no offset, and the bundle has no base"
            for file in manifest.left_to_base
        ]
    if manifest.base.name != manifest.name:
        defects.append(f"base '{manifest.base.title}' is no bundle of the name '{manifest.name}'")
    if manifest.base.version == manifest.version:
        defects.append(f"base '{manifest.base.title}' has the version of the bundle itself")
    return defects


def _reference_defects(manifest: Manifest) -> list[str]:
    """Names that point at nothing."""
    ids = Counter(artifact.id for artifact in manifest.artifacts)
    paths = {file.path for file in manifest.files}
    defects = [f"artifact '{name}' is there twice" for name in ids if ids[name] > 1]
    defects += [
        f"file '{file.path}' belongs to '{file.artifact}', which is no artifact"
        for file in manifest.files
        if file.artifact is not None and file.artifact not in ids
    ]
    made = [*(derived.path for derived in manifest.derived), *manifest.built]
    defects += [
        f"'{path}' is listed as made here, and is no file" for path in made if path not in paths
    ]
    return defects


def _is_git_id(text: str) -> bool:
    return len(text) == 40 and not set(text) - set("0123456789abcdef")  # noqa: PLR2004 - SHA-1


def _defective(defects: list[str]) -> DamagedError:
    return DamagedError(
        "manifest.json is not one that this version reads: " + "; ".join(sorted(set(defects))),
        rule="manifest.form",
        hint="airgap --version; a newer bundle needs a newer airgap on this host",
    )
