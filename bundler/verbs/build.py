"""`airgap build`: one signed file that carries everything a profile names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.console import console, human_size
from airgap.verbs import options
from bundler.verbs.profile import ProfileName
from bundler.verbs.reaching import CaBundle
from bundler.verbs.volumes import Recovery, Split

if TYPE_CHECKING:
    from bundler.build import Built


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("build")(build)


def build(
    profile: ProfileName,
    key: options.SignAs = None,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder to make NAME-VERSION/ in.")
    ] = Path(),
    skip_dry_load: Annotated[
        list[str] | None,
        typer.Option(
            "--skip-dry-load",
            metavar="ROLE",
            help="Do not load the models of a role before signing, where their engine is not "
            "installed here. The signed manifest records it. May be given again.",
            show_default=False,
        ),
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(
            metavar="MANIFEST|BUNDLE",
            help="Build a delta: leave out every model file that this older, full bundle has. Its "
            "manifest.json is enough; it is read, not verified.",
            show_default=False,
        ),
    ] = None,
    previous: Annotated[
        Path | None,
        typer.Option(
            metavar="MANIFEST|BUNDLE",
            help="An older bundle: REVIEW.html says what changed since. It is read, not verified. "
            "Without it, that of --base.",
            show_default=False,
        ),
    ] = None,
    split: Split = None,
    recovery: Recovery = None,
    ca_bundle: CaBundle = None,
    passphrase_file: options.PassphraseFile = None,
    passphrase_fd: options.PassphraseFd = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Build a bundle: fetch what the lock names, judge it, load it, pack it, read it back, sign it.

    NAME-VERSION/ then holds the .tar.zst that crosses the gap, and papers that let a stranger
    check it with openssl and sha256sum. The same lock gives the same bytes. Without --key the
    bundle ends unsigned, and no host accepts it.

    A delta lists, scans and loads the whole, and carries what is new. A host mounts it where the
    files of its base are in the store, and checks each of them.

    \b
    Examples:
      airgap build demo --key alice
      airgap build ./ward-7.yaml --key alice --key bob --out /srv/bundles
      airgap build demo --key alice --base demo-1.0.0/manifest.json
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import places, signing
    from bundler.sources.environment import access_for, require_libraries

    require_libraries("build")
    from bundler import volume_size
    from bundler.build import Shape
    from bundler.build import build as build_bundle
    from bundler.claims import read_manifest
    from bundler.lock import read_lock
    from bundler.profile import read_profile

    each = volume_size.parse(split) if split else None
    path, wanted = read_profile(profile)
    lock = read_lock(path, wanted)
    for model in lock.models:
        if model.is_non_commercial:
            console.warn(f"{model.id} may not be used commercially: its licence is {model.licence}")
    signers = signing.unlock_each(key or [], places.key_folder(), passphrase_file, passphrase_fd)
    older = read_manifest(base) if base else None
    if older:
        console.say(f"base: {older.title}, read from '{base}', not verified")
    built = build_bundle(
        wanted,
        lock,
        access_for(path, ca_bundle),
        out,
        signers,
        skip_dry_load=skip_dry_load or [],
        base=older,
        previous=read_manifest(previous) if previous else None,
        shape=Shape(each, recovery),
    )
    _report(built, list(signers))


def _checks(built: Built) -> str:
    """The verdicts of scan and dry-load, for a person."""
    scan, loaded = built.manifest.scan, built.manifest.dry_load
    return (
        f"scan: {scan.verdict if scan else 'none'}; models: {loaded.verdict if loaded else 'none'}"
    )


def _left(built: Built) -> str:
    """What a delta leaves out, for a person."""
    left = built.manifest.left_to_base
    return f"{len(left)} files ({human_size(sum(file.size for file in left))})"


def _report(built: Built, signers: list[str]) -> None:
    from airgap.statement import approval_code

    code = approval_code(built.envelope.statement)
    plain = sum(file.size for file in built.manifest.files)
    size = f"{human_size(built.size)}, of {human_size(plain)} in {len(built.manifest.files)} files"
    console.data(f"{built.path}: built and checked")
    console.data(f"  size           {size}")
    if len(built.files) > 1:
        console.data(f"  volumes        {len(built.files)}, to {built.files[-1].name}")
    if base := built.manifest.base:
        console.data(f"  delta          leaves {_left(built)} to {base.title}")
    console.data(f"  checked        {_checks(built)}")
    console.data(f"  signed by      {', '.join(signers) or 'nobody'}")
    console.data(f"  approval code  {code}")
    if not signers:
        console.warn("no host accepts it until it is signed")
        console.say(f"next: airgap sign {built.path} --key NAME")
    console.document(
        "airgap/build/v1",
        {
            "bundle": str(built.path),
            "volumes": [str(path) for path in built.files],
            "bytes": built.size,
            "files": len(built.manifest.files),
            "base": built.manifest.base.to_json() if built.manifest.base else None,
            "left_to_base": len(built.manifest.left_to_base),
            "signers": signers,
            "approval_code": code,
            "statement_sha256": code.replace(" ", ""),
        },
    )
