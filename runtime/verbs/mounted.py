"""`airgap verify --mounted`, `airgap repair --mounted`: what is mounted, checked and mended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airgap.console import console, human_size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from airgap.errors import AirgapError
    from airgap.manifest import File
    from runtime.generation import Generation
    from runtime.mend import Mended


def verify(artifact: str | None, root: Path | None) -> None:
    """Compare what is served with what was signed: all of it, or one artifact of it.

    Raises:
        UsageError: nothing is mounted, or no artifact has that name.
        DamagedError: something is not what was signed: all of it is told.
    """
    from airgap import places
    from airgap.errors import UsageError
    from airgap.evidence import refusal_recorded
    from runtime import generation

    place = places.isolated_root(root)
    names = generation.mounted(place)
    if not names:
        raise UsageError(f"nothing is mounted in '{place}'", hint="airgap mount BUNDLE")
    checked = []
    for name in names:
        with (
            refusal_recorded(place, "verify", f"{name}, mounted"),
            generation.current(place, name) as one,
        ):
            if files := _chosen(one, artifact):
                checked.append(_check(one, files, artifact))
                _record(place, one, len(files))
    if not checked:
        raise UsageError(f"no mounted bundle has an artifact '{artifact}'", hint="airgap list")
    console.document("airgap/verify-mounted/v1", {"root": str(place), "mounts": checked})


def repair(bundle: Path, also: Sequence[Path], root: Path | None) -> None:
    """Restore what is damaged in the mounts from a bundle whose signers this host trusts.

    Raises:
        UntrustedError: they are not trusted.
        DamagedError: the bundle is not what was signed, or damage is left that it cannot mend.
    """
    from airgap import head, volumes
    from airgap.accepted import NO_OVERRIDES
    from airgap.verbs import options
    from runtime import mend
    from runtime import root as roots

    decision = options.decision("verify", bundle, root, NO_OVERRIDES)
    with (
        decision.recorded(),
        volumes.source(bundle, also) as source,
        roots.locked(decision.root) as locked,
        head.interruption_told(bundle, also),
    ):
        # Age is not asked: what is served here may be older than what was accepted last.
        verified = decision.verify_base(source)
        with console.progress("repair", None) as bar:
            done = mend.mend(locked, verified, bar.advance, bar.advance)
        _tell_mended(decision.root, verified.bundle.statement.title, done)


def _chosen(one: Generation, artifact: str | None) -> tuple[File, ...]:
    if artifact is None:
        return one.manifest.files
    return tuple(
        file
        for found in one.manifest.artifacts
        if found.id == artifact
        for file in one.manifest.files_of(found)
    )


def _check(one: Generation, files: tuple[File, ...], artifact: str | None) -> dict[str, object]:
    """Check files of a generation, tell it, and describe it. Raises DamagedError."""
    from runtime import recheck

    size = sum(file.size for file in files)
    with console.progress("verify", size) as bar:
        recheck.require_signed(one, files, artifact, bar.advance)
    title = one.statement.title
    console.data(f"{title}: what is mounted is what was signed")
    console.data(f"  generation     {one.number}")
    console.data(f"  approval code  {one.approval_code}")
    console.data(f"  compared       {len(files)} files, {human_size(size)}")
    return {
        "bundle": title,
        "generation": one.number,
        "approval_code": one.approval_code,
        "artifact": artifact,
        "files": len(files),
        "bytes": size,
    }


def _record(root: Path, one: Generation, files: int) -> None:
    """Note it in the audit log. For whoever may not write there the verdict stands."""
    from airgap.audit import AuditLog
    from airgap.errors import AirgapError

    title = one.statement.title
    try:
        AuditLog.of(root).append("recheck", bundle=title, generation=one.number, files=files)
    except AirgapError as error:
        console.warn(f"that it was checked is not in the audit log: {error.message}")


def _tell_mended(root: Path, title: str, done: Mended) -> None:
    """Say and record what was restored. Raises DamagedError where damage is left."""
    from airgap.evidence import record_change

    if done.restored:
        said = f"{len(done.restored)} files are restored"
        record_change(root, said, "repair", bundle=title, restored=done.restored)
    for path in done.restored:
        console.data(f"restored from {title}: {path}")
    if done.left or done.unsigned:
        raise _unmended(title, done)
    if not done.restored:
        console.data("nothing to repair: every file that is mounted is what was signed")
    console.document("airgap/repair-mounted/v1", {"bundle": title, "restored": done.restored})


def _unmended(title: str, done: Mended) -> AirgapError:
    """What is left, and what a person does about it."""
    from airgap.errors import DamagedError
    from runtime import recheck

    left = [*done.left, *(f"'{path}' was signed by nobody" for path in done.unsigned)]
    hints = [recheck.removal(done.unsigned)] if done.unsigned else []
    if done.left:
        hints.append(
            "the bundle that was mounted, or the base of that delta; or airgap mount BUNDLE"
        )
    return DamagedError(
        f"{title} cannot mend all of it: {'; '.join(left)}",
        rule="mount.digest",
        hint="; ".join(hints),
    )
