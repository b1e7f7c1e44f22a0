"""`airgap inspect`: what a bundle says of itself. It is not a verification, and says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from airgap.console import console, human_size
from airgap.verbs import options

if TYPE_CHECKING:
    from airgap.archive import OpenBundle
    from airgap.manifest import Artifact, File

CAUTION = "not verified: this is what the bundle says of itself; `airgap verify` proves it"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("inspect")(inspect)


def inspect(
    bundle: options.BundleFiles,
    files: Annotated[bool, typer.Option("--files", help="List every file too.")] = False,
    also: options.Also = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Show what is inside a bundle and which keys claim to have signed it.

    It is no verification: no signature is checked, and it says so.

    \b
    Examples:
      airgap inspect demo-1.0.0.tar.zst --files
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import head, volumes
    from airgap.archive import open_bundle, read_head
    from airgap.statement import Statement

    with volumes.opened(bundle, also or ()) as source, head.interruption_told(bundle, also or ()):
        envelope = read_head(source)
        opened = open_bundle(source, envelope, Statement.parse(envelope.statement))
    console.data(CAUTION)
    _show_summary(opened)
    _show_artifacts(opened)
    if files:
        rows = [(human_size(f.size), f.sha256[:16], _placed(f)) for f in opened.manifest.files]
        console.data("")
        console.table(("size", "sha256", "file"), rows)
    _show_document(opened)


def _show_summary(opened: OpenBundle) -> None:
    from airgap.statement import approval_code

    statement, manifest = opened.statement, opened.manifest
    plain = sum(file.size for file in manifest.files)
    stored = human_size(opened.table.stored_total)
    left = manifest.left_to_base
    features = [_in_line(name) for name, there in manifest.features.items() if there]
    claims = [signature.key_id[:16] for signature in opened.envelope.signatures]
    console.data(f"{statement.title}")
    console.data(f"  profile        {manifest.profile}")
    console.data(f"  sequence       {statement.sequence}, created {statement.created}")
    console.data(f"  expires        {statement.expires or 'never'}")
    console.data(
        f"  size           {len(manifest.files)} files, {human_size(plain)}; here {stored}"
    )
    if statement.base:
        there = human_size(sum(file.size for file in left))
        console.data(
            f"  delta of       {statement.base.title}: {len(left)} files ({there}) are left to it"
        )
    console.data(f"  features       {', '.join(features) or 'transcription alone'}")
    console.data(f"  approval code  {approval_code(opened.envelope.statement)}")
    console.data(f"  claims         signed by {', '.join(claims) or 'nobody'}")


def _show_artifacts(opened: OpenBundle) -> None:
    console.data("")
    rows = [
        (one.id, one.role, human_size(_size(opened, one)), _licence(one), _origin(one))
        for one in opened.manifest.artifacts
    ]
    console.table(("artifact", "role", "size", "licence", "from"), rows)


def _placed(file: File) -> str:
    return file.path if file.offset is not None else f"{file.path}  (left to the base)"


def _in_line(text: str) -> str:
    """Free text that nobody vouches for: a newline in it must not forge a line of ours."""
    return text.replace("\n", "\\n")


def _licence(artifact: Artifact) -> str:
    licence = _in_line(artifact.licence)
    return f"{licence} (gated)" if artifact.gated else licence


def _origin(artifact: Artifact) -> str:
    if artifact.repository is None:
        return "-"
    at = f"@{artifact.commit[:12]}" if artifact.commit else ""
    return _in_line(f"{artifact.repository}{at}")


def _size(opened: OpenBundle, artifact: Artifact) -> int:
    return sum(file.size for file in opened.manifest.files_of(artifact))


def _show_document(opened: OpenBundle) -> None:
    from airgap import strict_json
    from airgap.statement import approval_code

    console.document(
        "airgap/inspect/v1",
        {
            "verified": False,
            "caution": CAUTION,
            "claimed_keys": [signature.key_id for signature in opened.envelope.signatures],
            "approval_code": approval_code(opened.envelope.statement),
            "statement": strict_json.parse(opened.envelope.statement),
            "manifest": strict_json.parse(opened.manifest.to_bytes()),
        },
    )
