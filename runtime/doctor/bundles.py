"""Rules about a bundle, mounted or offered: is it whole, would this host run it?"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from airgap import memory
from airgap.console import human_size
from airgap.finding import Check, Finding, Trouble, fail, ok, warn
from runtime import recheck
from runtime.doctor.facts import Bundle, Model
from runtime.doctor.hardware import computes_on_gpu, torch_lacks
from runtime.engine.speakers.choosing import BACK_ENDS, Diarization
from runtime.store import SPARE
from runtime.verified_load import VerifiedLoad

_NAMED: Final = 3
"""How many files a finding names."""

_WHISPER: Final = "faster-whisper"
"""The one engine that computes without torch."""

_TOLERANCE: Final = timedelta(minutes=5)

_AGAIN: Final = "airgap mount BUNDLE, once more"
_BUILD_AGAIN: Final = "have the bundle built again, from a lock that names every file"


def _readable(bundle: Bundle) -> Finding | None:
    if bundle.trouble is not None:
        return bundle.trouble.as_finding(_AGAIN)
    engines = ", ".join(one.id for one in bundle.models if one.engine) or "none"
    later = "; its frames are checked by `airgap verify`" if bundle.offer else ""
    return ok(f"models: {engines}{later}")


def _files(bundle: Bundle) -> Finding | None:
    if bundle.mount is None:
        return None
    if differ := bundle.mount.differ:
        return fail(f"not as signed, or missing: {_listed(differ)}", _AGAIN)
    return ok("sizes as signed; contents are compared whenever a model is loaded")


def _unsigned(bundle: Bundle) -> Finding | None:
    if bundle.mount is None or not bundle.mount.unsigned:
        return None
    return fail(
        f"signed by nobody: {_listed(tuple(map(str, bundle.mount.unsigned)))}; other programs may "
        "load it",
        recheck.removal(bundle.mount.unsigned),
    )


def _refs(bundle: Bundle) -> Finding | None:
    if bundle.mount is None or not bundle.mount.bad_refs:
        return None
    return fail(
        f"expected 40 hex digits and no newline in {_listed(bundle.mount.bad_refs)}: libraries "
        "find no model by name",
        _BUILD_AGAIN,
    )


def _complete(bundle: Bundle) -> Finding | None:
    if bundle.mount is None or not bundle.mount.incomplete:
        return None
    return fail("; ".join(bundle.mount.incomplete), _BUILD_AGAIN)


def _standing(bundle: Bundle) -> Finding | None:
    if bundle.mount is None:
        return None
    standing = bundle.mount.standing
    if isinstance(standing, Trouble):
        return standing.as_finding("airgap mount, with a newer bundle")
    if standing:
        return warn("; ".join(standing), "ask for a newer bundle; airgap trust check")
    return ok("trusted by today's policy")


def _clock(bundle: Bundle) -> Finding | None:
    if bundle.mount is None:
        return None
    clock, created = bundle.host.trust.clock, bundle.mount.created
    if created <= clock + _TOLERANCE:
        return None
    return warn(
        f"it was made on {created:%Y-%m-%d}, and it is {clock:%Y-%m-%d} here: its expiry cannot "
        "be told",
        "set the clock: date -u; timedatectl set-time",
    )


def _shadow(bundle: Bundle) -> Finding | None:
    mount = bundle.mount
    if mount is None or not (mount.shadows or mount.astray):
        return None
    told = list(mount.astray)
    if mount.shadows:
        told.append(
            f"other programs would take its models from {_listed(mount.shadows)}, which nobody "
            "signed"
        )
    if mount.astray:
        return warn("; ".join(told), 'eval "$(airgap cache env)", before other programs start')
    lead = f"export HF_HOME={mount.cache_root}/hf; unset HF_HUB_CACHE; or remove them"
    return warn("; ".join(told), lead)


def _promise(bundle: Bundle) -> Finding | None:
    if bundle.trouble is not None:
        return None
    if bundle.promise is not None:
        return bundle.promise.as_finding("airgap list, which shows what a bundle carries")
    return ok("what it promises can be kept")


def _emotion(bundle: Bundle) -> Finding | None:
    carried = any(one.role == "emotion" for one in bundle.models)
    if not carried or "transformers" in bundle.host.libraries.versions:
        return None
    return warn(
        "it carries emotion models, and transformers is not installed",
        bundle.carried.fix if bundle.carried else "pip install 'airgap-bundler[emotion]'",
    )


def _space(bundle: Bundle) -> Finding | None:
    free = bundle.host.place.free
    if bundle.offer is None or free is None:
        return None
    needed = bundle.offer.to_store + SPARE
    if free < needed:
        return fail(
            f"mounting it takes {human_size(needed)}, and {human_size(free)} are free",
            "free some space, or choose a larger place with --root",
        )
    return ok(f"mounting it takes {human_size(needed)}")


def _base(bundle: Bundle) -> Finding | None:
    if bundle.offer is None or not bundle.offer.left_out:
        return None
    base = bundle.offer.base
    return fail(
        f"it is a delta, and {bundle.offer.left_out} files that it leaves to {base} are not here",
        f"airgap mount {base}.tar.zst first; or ask for a full bundle",
    )


def _memory(bundle: Bundle) -> Finding | None:
    if bundle.trouble is not None:
        return None
    machine, models = bundle.host.machine, _sizes(_loaded(bundle))
    by_path = memory.to_load(models, copies=0)
    buffered = bundle.host.wish.verified_load is VerifiedLoad.BUFFER
    needed = memory.to_load(models) if buffered else by_path
    shown = f"loading, verified, takes about {human_size(needed)}"
    if needed > machine.memory:
        other = f"--verified-load path takes about {human_size(by_path)}; or "
        return fail(
            f"{shown}, and there are {human_size(machine.memory)}",
            f"{other if buffered and by_path <= machine.memory else ''}more memory, or a smaller "
            "model",
        )
    if needed > machine.available:
        return warn(
            f"{shown}, and of {human_size(machine.memory)} only {human_size(machine.available)} "
            "are available now",
            "end other programs, or --verified-load path",
        )
    return ok(f"{shown}; {human_size(machine.available)} are available")


def _gpu_memory(bundle: Bundle) -> Finding | None:
    if bundle.trouble is not None or not computes_on_gpu(bundle.host):
        return None
    needed = memory.to_load_on_gpu(_sizes(_loaded(bundle)))
    there = bundle.host.machine.cuda.gpus[0].memory
    if needed > there:
        return fail(
            f"its models take about {human_size(needed)} of the GPU, which has {human_size(there)}",
            "--device cpu; or --compute-type int8_float16; or a smaller model",
        )
    return ok(f"its models take about {human_size(needed)} of {human_size(there)}")


def _torch(bundle: Bundle) -> Finding | None:
    """A server that loads such a model ends there; of Whisper alone it would start."""
    lacking = torch_lacks(bundle.host)
    by_torch = [one.id for one in _loaded(bundle) if one.engine not in {None, _WHISPER}]
    if bundle.trouble is not None or lacking is None or not by_torch:
        return None
    found, fix = lacking
    return fail(f"{_listed(tuple(by_torch))}: {found}", f"{fix}; or --device cpu")


def _copies(bundle: Bundle) -> Finding | None:
    engines = {one.engine for one in BACK_ENDS}
    copied = sum(one.size for one in _loaded(bundle) if one.engine in engines)
    place = bundle.host.place
    if not copied or place.temporary_free is None:
        return None
    if place.temporary_free < copied:
        return fail(
            f"models of speakers are copied to '{place.temporary}' while they are loaded: "
            f"{human_size(copied)}, and {human_size(place.temporary_free)} are free",
            "free some space, or set TMPDIR to a folder on a larger disk",
        )
    return None


def _loaded(bundle: Bundle) -> list[Model]:
    """The models that `serve` would load, as it is going to be asked."""
    wish = bundle.host.wish
    speakers = {one.engine for one in BACK_ENDS}
    return [
        one
        for one in bundle.models
        if (one.role != "emotion" or wish.emotion)
        and (one.role != "asr" or not wish.models or one.id in wish.models)
        and (one.engine not in speakers or wish.diarization is not Diarization.NONE)
    ]


def _sizes(models: list[Model]) -> list[tuple[str | None, int]]:
    return [(one.engine, one.size) for one in models]


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(f"'{name}'" for name in names[:_NAMED]) + more


CHECKS: Final = (
    Check("bundle.readable", "Can it be read, and is it signed by those who count?", _readable),
    Check("bundle.promise", "Can this host do what it promises?", _promise),
    Check("bundle.emotion", "Are the libraries there that its emotion models need?", _emotion),
    Check("bundle.memory", "Is there memory to load it, verified?", _memory),
    Check("bundle.gpu-memory", "Is there memory of the GPU?", _gpu_memory),
    Check("bundle.torch", "Does torch compute where its models would be loaded?", _torch),
    Check("bundle.copies", "Is there space for the copies that some libraries need?", _copies),
    Check("offer.space", "Is there space to mount it?", _space),
    Check("offer.base", "Are the files here that a delta leaves out?", _base),
    Check("mount.files", "Is every file there, in the size that was signed?", _files),
    Check("mount.unsigned", "Does something lie there that nobody signed?", _unsigned),
    Check("mount.refs", "Do `refs` hold a commit and nothing else?", _refs),
    Check("mount.models", "Are tokenizer, vocabulary and preprocessor there?", _complete),
    Check("mount.standing", "Does today's policy still trust it, and how long?", _standing),
    Check("mount.clock", "Was it made in the future of this clock?", _clock),
    Check("mount.shadow", "Do other caches come before it?", _shadow),
)
