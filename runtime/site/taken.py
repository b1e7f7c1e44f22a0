"""Which files of a store are taken, and whether the papers are those that were signed for.

A store can hold anything under any name, so names are of a closed set. What a paper says, people
act upon: so each is compared with what the bundle's signers signed, made anew from the verified
head, or left where it is.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airgap import frames, limits, papers, recovery, signature_files, tar, volume_names
from airgap.archive import OpenBundle
from airgap.bootstrap_text import FOLDER
from airgap.checksums import FILE as SUMS
from airgap.errors import AirgapError, DamagedError, UsageError
from airgap.files import read_bounded
from airgap.keys import PublicKey
from airgap.statement import BOOTSTRAP, BOOTSTRAP_SUMS
from runtime.site.holding import Held, Item

_BUNDLE: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,160}\.tar\.zst(\.[0-9]{3})?")
_SIGNATURE: Final = re.compile(
    r"(manifest\.json(\.[0-9a-f]{8})?\.minisig|model(\.[0-9a-f]{8})?\.sig)"
)
_IN_BOOTSTRAP: Final = re.compile(rf"{FOLDER}/[A-Za-z0-9_][A-Za-z0-9._+-]{{0,250}}")
_MADE_ANEW: Final = re.compile(
    r"statement\.json(\.[0-9a-f]{8}\.sig)?|SIGNERS\.txt|BOOTSTRAP\.md|SHA256SUMS"
)
_LISTED: Final = re.compile(r"([0-9a-f]{64})  (\S+)")


@dataclass(frozen=True)
class Chosen:
    """What is taken of a bundle in a store.

    Attributes:
        bundle: its file, or its volumes in order.
        papers: what lies beside it and can be compared.
        left: names of what is not taken.
    """

    bundle: Sequence[Item]
    papers: Sequence[Item]
    left: Sequence[str]

    @property
    def all(self) -> Sequence[Item]:
        """The files that are taken, the head's first."""
        return (*self.bundle, *self.papers)


def choose(held: Held) -> Chosen:
    """Tell the one bundle of a store's folder from its papers, and from what is neither.

    Raises:
        AirgapError: there is no bundle.
        UsageError: there are several.
        DamagedError: volumes are missing.
    """
    named = {item.name: item for item in held.items}
    bundles = sorted(name for name in named if _BUNDLE.fullmatch(name))
    names = sorted({volume_names.joined(name) for name in bundles})
    if not names:
        raise _no_bundle(held)
    if len(names) > 1 or len(named) != len(held.items) or (names[0] in bundles and bundles[1:]):
        raise UsageError(
            f"'{held.name}' holds more than one bundle: {', '.join(bundles[: limits.NAMED])}",
            hint="name the folder or the .tar.zst of one",
        )
    (name,) = names
    if bundles != [name]:
        wanted = [volume_names.volume_name(name, i + 1) for i in range(len(bundles))]
        if lacking := [i + 1 for i, one in enumerate(wanted) if one not in named]:
            raise volume_names.missing(name, lacking, held.name)
    wanted_papers = [one for one in sorted(named) if _is_paper(one, name)]
    left = [
        one
        for one in sorted(named)
        if one not in bundles and one not in wanted_papers and not _MADE_ANEW.fullmatch(one)
    ]
    return Chosen([named[one] for one in bundles], [named[one] for one in wanted_papers], left)


def _is_paper(name: str, bundle: str) -> bool:
    return (
        name in papers.COPIES
        or name == BOOTSTRAP
        or _SIGNATURE.fullmatch(name) is not None
        or _IN_BOOTSTRAP.fullmatch(name) is not None
        or (_is_flat(name) and name.startswith(f"{bundle}.") and name.endswith(recovery.SUFFIX))
    )


def _is_flat(name: str) -> bool:
    return re.fullmatch(r"[a-z0-9._+-]+", name) is not None


def _no_bundle(held: Held) -> AirgapError:
    below = sorted({item.name.partition("/")[0] for item in held.items if "/" in item.name})
    listed = f": it has {', '.join(below[: limits.NAMED])}" if below else ""
    hint = f"airgap pull {held.name}/{below[0]}" if below else "name the folder of a bundle"
    return AirgapError(f"'{held.name}' holds no bundle{listed}", hint=hint)


def check_papers(
    folder: Path, names: Iterable[str], bundle: OpenBundle, known: Iterable[PublicKey]
) -> list[str]:
    """Compare the papers in a folder with what was signed, and drop what nobody here can tell.

    Args:
        folder: with the papers.
        names: of them, as `Chosen.papers` has them.
        bundle: verified, every frame of it.
        known: the keys that this host trusts; they check the signature files.

    Returns:
        The names of the signature files that were dropped.

    Raises:
        DamagedError: a paper is not what the bundle's signers signed for.
    """
    signed = _signed_digests(folder, bundle)
    wrong = []
    for name in names:
        if _SIGNATURE.fullmatch(name) or name.endswith(recovery.SUFFIX):
            continue
        content = read_bounded(folder / name, limits.PAPER, "a paper")
        if signed.get(name) not in _digests(content, bundle):
            wrong.append(name)
    if wrong:
        raise DamagedError(
            f"papers in the store are not those that were signed for: {', '.join(sorted(wrong))}",
            rule="site.paper",
            hint="push the bundle again from where it is sound; or pull its .tar.zst alone",
        )
    return _dropped(folder, bundle, known)


def _digests(content: bytes, bundle: OpenBundle) -> tuple[str, str]:
    """By SHA-256, as the manifest has it, and by the statement's own hash."""
    own = frames.digest(content, bundle.statement.hash).hex()
    return hashlib.sha256(content).hexdigest(), own


def _signed_digests(folder: Path, bundle: OpenBundle) -> Mapping[str, str]:
    """What the signers signed for, by name: in the manifest, the statement, or its list."""
    subjects = bundle.statement.subjects
    signed = {file.path: file.sha256 for file in bundle.manifest.files}
    signed = {name: signed[name] for name in papers.COPIES if name in signed}
    signed[tar.MANIFEST] = hashlib.sha256(bundle.manifest.to_bytes()).hexdigest()
    signed |= {name: subjects[name] for name in (BOOTSTRAP, BOOTSTRAP_SUMS) if name in subjects}
    sums = folder / FOLDER / SUMS
    if BOOTSTRAP_SUMS in signed and sums.is_file():
        content = read_bounded(sums, limits.PAPER, "a list of checksums")
        if signed[BOOTSTRAP_SUMS] in _digests(content, bundle):
            listed = _LISTED.findall(content.decode(errors="replace"))
            signed |= {f"{FOLDER}/{name}": digest for digest, name in listed if name != SUMS}
    return signed


def _dropped(folder: Path, bundle: OpenBundle, known: Iterable[PublicKey]) -> list[str]:
    keys = {key.key_id: key for key in known}
    statement, manifest = bundle.envelope.statement, bundle.manifest
    good = {
        one.file
        for one in signature_files.found(folder, keys)
        if signature_files.holds(one, keys[one.key_id], statement, manifest)
    }
    dropped = sorted(signature_files.all_names(folder) - good)
    for name in dropped:
        (folder / name).unlink()
    return dropped
