"""Gathers the facts about a bundle before it is mounted, or before it is even built."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from airgap import limits, volumes
from airgap.accepted import AcceptedFile
from airgap.errors import AirgapError, UsageError
from airgap.files import read_bounded
from airgap.finding import Trouble
from airgap.manifest import File, Manifest
from airgap.trust import TrustStore
from airgap.verify import verify
from runtime import wheelhouse
from runtime.doctor.facts import Bundle, Carried, Host, Model, Offer
from runtime.doctor.mounted import models_of
from runtime.engine.speakers import choosing
from runtime.engine.speakers.choosing import BACK_ENDS, Diarization
from runtime.store import BLOBS

PLAN: Final = "airgap/plan/v1"
"""What `airgap plan PROFILE --json` prints."""


def examine(host: Host, root: Path, named: str) -> Bundle:
    """A bundle's file or folder; or a plan, as a file of `airgap plan --json` or by its profile.

    Raises:
        UsageError: it is none of them.
    """
    path = Path(named)
    if path.suffix == ".json":
        return _planned(host, read_bounded(path, limits.LOCK_FILE, "a plan"), named)
    if path.suffix not in {".yaml", ".yml"} and path.exists():
        return _bundle(host, root, path)
    return _planned(host, _plan_of(named), named)


def _bundle(host: Host, root: Path, path: Path) -> Bundle:
    """By the same decision as `mount`, up to the frames, and recorded nowhere."""
    try:
        policy, accepted = TrustStore.of_host(root).load(), AcceptedFile(root).load()
        with volumes.opened(path) as source:
            verified = verify(source, policy, accepted, host.trust.clock)
            manifest = verified.bundle.manifest
    except AirgapError as error:
        return Bundle(host, path.name, trouble=Trouble.of(error))
    return of_manifest(host, root, manifest)


def of_manifest(host: Host, root: Path, manifest: Manifest) -> Bundle:
    """A bundle that was verified already, by its manifest."""
    return Bundle(
        host,
        manifest.title,
        models_of(manifest),
        promise=_promise(manifest, host.wish.diarization),
        carried=_to_come(host, manifest.title, carries=wheelhouse.is_carried(manifest)),
        offer=_offer(root, manifest),
    )


def _promise(manifest: Manifest, asked: Diarization) -> Trouble | None:
    """Why it cannot be kept; libraries that the bundle itself brings are not missing."""
    models = choosing.carried(manifest.artifacts)
    able = any(asked in {Diarization.AUTO, one.back_end.name} for one in models)
    if able and wheelhouse.is_carried(manifest):
        return None
    try:
        choosing.promised(manifest, asked)
    except UsageError as error:
        return Trouble.of(error)
    return None


def _to_come(host: Host, title: str, *, carries: bool) -> Carried | None:
    """The engine that a bundle carries, where this process has none."""
    if "faster-whisper" in host.libraries.versions or not carries:
        return None
    fix = "airgap update BUNDLE, which installs it; or airgap runtime install, once it is mounted"
    return Carried(title, fix, to_come=True)


def _offer(root: Path, manifest: Manifest) -> Offer:
    lacking = {file.sha256: file for file in manifest.files if not _is_stored(root, file)}
    carried = {file.sha256 for file in manifest.carried}
    left = [one for one in manifest.left_to_base if one.sha256 in lacking.keys() - carried]
    return Offer(
        to_store=sum(lacking[sha256].size for sha256 in lacking.keys() & carried),
        left_out=len(left),
        base=manifest.base.title if manifest.base else None,
    )


def _is_stored(root: Path, file: File) -> bool:
    """Whether the store has it, by name and size: mounting compares the bytes."""
    try:
        return (root / BLOBS / file.sha256[:2] / file.sha256).lstat().st_size == file.size
    except OSError:
        return False


# --- plans ----------------------------------------------------------------------------------------


def _plan_of(profile: str) -> bytes:
    """Asked of `airgap plan` itself: profiles belong to the connected side, if it is here.

    Raises:
        UsageError: it is no profile, or the connected side is not installed.
    """
    command = [sys.executable, "-P", "-m", "airgap", "plan", profile, "--json"]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - our own command
    if done.returncode == 0:
        return done.stdout
    message = _field(done.stdout, "message") or "the plan could not be made"
    raise UsageError(
        f"'{profile}' is no bundle, and as a profile: {message}",
        hint="where profiles are: airgap plan PROFILE --json > plan.json; here: airgap doctor "
        "plan.json",
    )


def _planned(host: Host, content: bytes, named: str) -> Bundle:
    """What a plan says, of a bundle that nobody has built yet.

    Raises:
        UsageError: it is no plan that this version reads.
    """
    if _field(content, "schema") != PLAN:
        raise UsageError(
            f"'{named}' is no plan: expected a document of the schema {PLAN}",
            hint="airgap plan PROFILE --json > plan.json",
        )
    try:
        told = json.loads(content)
        models = tuple(_model(one) for one in told["models"])
        wanted, asked = str(told["diarization"]), host.wish.diarization
        title, runtime = f"{told['name']}-{told['version']}", told.get("runtime") or {"extras": ()}
        brought = asked is Diarization.NONE or wanted in runtime["extras"]
        return Bundle(
            host,
            title,
            models,
            promise=None if brought else _lacking(wanted),
            carried=_to_come(host, title, carries=bool(runtime["extras"])),
            offer=Offer(to_store=int(told["size"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"'{named}' is no plan that this version reads: {error!r}",
            hint="airgap plan PROFILE --json > plan.json, with the same version of airgap",
        ) from error


def _model(told: dict[str, Any]) -> Model:
    engine = told["engine"]
    return Model(
        str(told["id"]), str(told["role"]), str(engine) if engine else None, int(told["size"])
    )


def _lacking(wanted: str) -> Trouble | None:
    """Why this host cannot tell speakers apart as a profile wants it; None where it can."""
    able = [one for one in BACK_ENDS if wanted in {one.name, one.engine}]
    if not able or any(one.installed for one in able):
        return None
    return Trouble(
        f"it tells speakers apart by {wanted}, and {able[0].library} is not installed",
        f"pip install 'airgap-bundler[{able[0].extra}]'",
    )


def _field(content: bytes, key: str) -> str | None:
    """A text of a JSON document of ours; None where it is none."""
    try:
        value = json.loads(content)[key]
    except (ValueError, KeyError, TypeError):
        return None
    return value if isinstance(value, str) else None
