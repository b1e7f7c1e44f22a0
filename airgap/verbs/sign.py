"""`airgap sign`: add a signature to a bundle, with a key here or one that is elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.console import console
from airgap.verbs import options

if TYPE_CHECKING:
    from airgap.envelope import Envelope
    from airgap.head import HeadSlot
    from airgap.manifest import Manifest
    from airgap.rotation import RotationFile
    from airgap.signing import PrivateKey


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("sign")(sign)


def sign(
    bundle: Annotated[
        Path,
        typer.Argument(
            metavar="BUNDLE",
            help="The .tar.zst file, one of its volumes, the folder that they lie in, or a "
            "rotation.",
        ),
    ],
    key: options.SignAs = None,
    passphrase_file: options.PassphraseFile = None,
    passphrase_fd: options.PassphraseFd = None,
    export: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write what is to be signed, for a key elsewhere."),
    ] = None,
    import_: Annotated[
        Path | None,
        typer.Option("--import", metavar="FILE", help="Add a signature made over --export's."),
    ] = None,
    public_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Public key of the imported signature.")
    ] = None,
    also: options.Also = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Check a bundle to its last byte, then add a signature to its head.

    Nothing else of it changes, and of the papers beside it only SIGNERS.txt, SHA256SUMS and this
    signer's own files. A key on another machine or in an HSM signs what --export writes; --import
    brings its signature back.

    \b
    Examples:
      airgap sign demo-1.0.0.tar.zst --key officer
      airgap sign demo-1.0.0.tar.zst --export demo.pae
      openssl pkeyutl -sign -inkey KEY -rawin -in demo.pae -out demo.sig
      airgap sign demo-1.0.0.tar.zst --import demo.sig --public-key KEY.pub
    """
    console.configure(as_json=json, quiet=quiet)
    from airgap import places, signing
    from airgap.errors import UsageError

    if sum((bool(key), export is not None, import_ is not None)) != 1:
        raise UsageError(
            "expected one of --key, --export and --import",
            hint=f"airgap sign {bundle} --key NAME",
        )
    with _opened(bundle, also or []) as slot:
        envelope, manifest = _checked(slot)
        if export is not None:
            _export(envelope, export)
            return
        private: dict[str, tuple[PrivateKey, ...]] = {}
        if import_ is not None:
            envelope, names = _imported(envelope, import_, public_key)
        else:
            folder = places.key_folder()
            private = signing.unlock_each(key or [], folder, passphrase_file, passphrase_fd)
            envelope = _signed(envelope, private)
            names = {one.public.key_id: name for name, keys in private.items() for one in keys}
        slot.write(envelope)
        if manifest is not None:  # still locked: a second signer's papers come after these
            try:
                _renew_recovery(bundle, also or [])
            finally:  # they speak of the recovery data, so they come last
                _write_papers(slot.path, envelope, manifest, names, private)
    _report(slot.path, envelope)


def _renew_recovery(bundle: Path, also: list[Path]) -> None:
    """Recovery data is of the old head: used now, it would take the new signature away."""
    from airgap import recovery, volume_names
    from airgap.errors import AirgapError

    try:
        recovery.renew(volume_names.locate(bundle, also))
    except AirgapError as error:
        raise AirgapError(
            f"'{bundle}' is signed; but its recovery data is still that of the unsigned one: "
            f"{error.message}",
            hint=error.hint,
        ) from error


def _opened(path: Path, also: list[Path]) -> AbstractContextManager[HeadSlot | RotationFile]:
    """What is to be signed: the head of a bundle, or a rotation."""
    from airgap import head
    from airgap.rotation import RotationFile, is_rotation

    if path.is_file() and is_rotation(path):
        return nullcontext(RotationFile(path))
    return head.locked(path, also)


def _checked(slot: HeadSlot | RotationFile) -> tuple[Envelope, Manifest | None]:
    """The envelope of something whose every byte fits its statement: nobody signs a broken one.

    A bundle's comes with its manifest; a rotation has none.
    """
    from airgap.archive import open_bundle
    from airgap.rotation import Rotation, RotationFile
    from airgap.statement import Statement

    envelope = slot.read()
    if isinstance(slot, RotationFile):
        Rotation.parse(envelope.statement).read_policy("the new policy")
        return envelope, None
    opened = open_bundle(slot.source, envelope, Statement.parse(envelope.statement))
    with console.progress("check", opened.table.stored_total) as bar:
        opened.check_contents(bar.advance)
    return envelope, opened.manifest


def _signed(envelope: Envelope, private: dict[str, tuple[PrivateKey, ...]]) -> Envelope:
    """The envelope with the signatures of these signers."""
    from airgap import signing

    for keys in private.values():
        envelope = signing.sign(envelope, keys)
    return envelope


def _write_papers(
    bundle: Path,
    envelope: Envelope,
    manifest: Manifest,
    names: Mapping[str, str],
    private: Mapping[str, Sequence[PrivateKey]],
) -> None:
    from airgap import papers, signed_papers

    keys = [key for each in private.values() for key in each]
    made = signed_papers.make(bundle.parent, envelope.statement, manifest, keys)
    papers.write(bundle, names, made)


def _export(envelope: Envelope, file: Path) -> None:
    from airgap.files import write_whole
    from airgap.statement import approval_code

    write_whole(file, envelope.message)
    code = approval_code(envelope.statement)
    console.data(f"to be signed: {file}")
    console.data(f"  approval code  {code}")
    console.say(
        "sign the file's bytes as they are: Ed25519, ECDSA P-384 with SHA-384, or ML-DSA-87"
    )
    console.document("airgap/sign-export/v1", {"file": str(file), "approval_code": code})


def _imported(
    envelope: Envelope, file: Path, public_key: Path | None
) -> tuple[Envelope, dict[str, str]]:
    """The envelope with a signature that was made elsewhere, after checking it.

    With the signer's name by key id, as the public key's file has it: `officer.ed25519.pub`.
    """
    from airgap import keys, limits, signing
    from airgap.envelope import Signature
    from airgap.errors import UsageError
    from airgap.files import read_bounded

    if public_key is None:
        raise UsageError("whose signature is it?", hint="--public-key FILE, the signer's .pub")
    (key, *others) = options.load_public_keys([public_key])
    if others:
        raise UsageError(
            f"'{public_key}' holds {1 + len(others)} keys; expected the one that signed"
        )
    value = read_bounded(file, limits.KEY_FILE, "a signature")
    if key.algorithm == keys.ECDSA_P384:
        value = keys.lowest_form(value)
    if not key.verifies(value, envelope.message):
        raise UsageError(
            f"'{file}' is no {key.algorithm} signature of '{public_key}' over this bundle",
            hint="sign the bytes of --export's file as they are, and name that key's .pub",
        )
    signed = envelope.signed_also([Signature(key.key_id, value)])
    return signed, {key.key_id: signing.signer_name(public_key.name)}


def _report(bundle: Path, envelope: Envelope) -> None:
    from airgap.statement import approval_code

    ids = [signature.key_id for signature in envelope.signatures]
    console.data(f"{bundle}: signed, now by {len(ids)} keys")
    console.data(f"  approval code  {approval_code(envelope.statement)}")
    console.document(
        "airgap/sign/v1",
        {
            "bundle": str(bundle),
            "keys": ids,
            "approval_code": approval_code(envelope.statement),
        },
    )
