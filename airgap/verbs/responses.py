"""`airgap verify --response`: is this transcript what a host that is trusted here has signed?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airgap.console import console
from airgap.verbs import options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airgap.attestation import Attestation
    from airgap.keys import PublicKey
    from airgap.policy import Policy

THIS_HOST = "this host"


def alone(path: Path | None, given: Mapping[str, object]) -> Path:
    """The transcript that is looked at, which nothing else is looked at with. Raises UsageError.

    Args:
        path: `--response`; None where only what belongs to it was given.
        given: what belongs to bundles, by its name on the command line.
    """
    from airgap.errors import UsageError

    if path is None:
        raise UsageError("--audio and --attestation belong to a transcript", hint="--response FILE")
    if named := ", ".join(option for option, value in given.items() if value):
        raise UsageError(
            f"--response looks at a transcript, and {named} at a bundle",
            hint=f"airgap verify --response {path}",
        )
    return path


def verify(
    path: Path,
    attestation: Path | None,
    audio: Path | None,
    key: list[Path],
    root: Path | None,
) -> None:
    """Check a transcript's attestation, then the transcript and the recording against it.

    Args:
        path: the transcript.
        attestation: the file that holds the envelope; None where it lies beside or inside.
        audio: the recording; None where nobody has it.
        key: files of hosts' keys that judge alone; none for this host's policy.
        root: this host's.

    Raises:
        UsageError: a file is missing, or nowhere is an attestation.
        UntrustedError: no host that is trusted here signed it.
        DamagedError: it was signed, and something of it was changed.
    """
    from airgap import attestation as attestations
    from airgap import places
    from airgap.accepted import clock
    from airgap.policy import ATTESTATION, policy_of_keys
    from airgap.response import Response

    store, given = options.asked_store(root, key), options.load_public_keys(key)
    response = Response.read(path, attestation)
    policy = policy_of_keys(given, "the key that you gave") if given else store.load()
    own = [] if given or store.decides_alone else _own_key(places.isolated_root(root), policy)
    said = attestations.check(response.envelope, [*policy.keys_for(ATTESTATION, clock()), *own])
    found = response.transcribed(said.transcript.form)
    attestations.require_fits(said, found, _hashed(audio), str(path))
    owner = policy.owner(said.host)
    _report(path, said, audio, owner.name if owner else THIS_HOST)


def _own_key(root: Path, policy: Policy) -> list[PublicKey]:
    """This host's own key, which it need not have enrolled to know what it signed itself."""
    from airgap import host_key

    if not host_key.public_file(root).exists():
        return []
    own = host_key.public_key(root)
    return [] if own.key_id in policy.revoked else [own]


def _hashed(audio: Path | None) -> str | None:
    """SHA-256 of the recording. Raises UsageError: which file that is, the command line said."""
    from airgap.digest import sha256_file
    from airgap.errors import AirgapError, UsageError

    try:
        return sha256_file(audio) if audio is not None else None
    except AirgapError as error:
        raise UsageError(error.message) from error


def _report(path: Path, said: Attestation, audio: Path | None, host: str) -> None:
    made = said.provenance
    models = ", ".join(
        f"{one.id} ({one.repository}@{one.commit})" if one.repository else one.id
        for one in made.models
    )
    console.data(f"{path}: signed by {host} on {said.time}")
    console.data(f"  transcript     as it was signed ({said.format})")
    console.data(f"  audio          {f'that of {audio}' if audio else 'not compared'}")
    console.data(f"  bundle         {made.title}")
    console.data(f"  approval code  {made.approval_code}")
    console.data(f"  models         {models}")
    console.data(
        f"  computed by    {', '.join(f'{name} {one}' for name, one in made.engine.items())}"
    )
    console.data(
        f"  options        {', '.join(f'{name}={one}' for name, one in made.options.items())}"
    )
    if audio is None:
        console.say("next, where you have the recording: --audio FILE")
    console.document(
        "airgap/response/v1",
        {
            "verified": True,
            "response": str(path),
            "format": said.format,
            "host": said.host,
            "host_name": host,
            "time": said.time,
            "audio": said.audio,
            "audio_compared": audio is not None,
            "provenance": made.to_json(),
            "approval_code": made.approval_code,
        },
    )
