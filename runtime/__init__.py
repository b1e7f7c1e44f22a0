"""The isolated side: what a host without a network does with a bundle.

folders, store         open folders that no link leads out of; blobs by digest
root                   of the host, for one change at a time
mount, inventory       VerifiedBundle -> generation; what is in it, for people
lineage                the generations of a name: rollback, unmount and gc work on them
recheck, mend          what is mounted, compared with what was signed once more; restored
layouts                further names in a mount, for each library
cache, holdings, clearing   where libraries look; what is there; what of it may go
generation, loading    a mount as it lies on disk; its models, hashed as they are loaded
image_engines          docker, podman, containerd: a verified image into theirs
recordings, engine     audio -> transcript
models, diarization    a mounted model or back end, loaded: the one way for every verb
transcriber, origin    all that a run needs of a mount; where its texts come from
batch         a folder of recordings in one run
promises      what a server of a mount must be able to do
doctor        what would fail at start, and the fix
library       the same from Python: `runtime.open`
server        OpenAI's audio API over it
mirror        a read-only hub over what is mounted
site          the site's own object store or registry: push, pull, and what a server starts from
offline       leaves the network, for good, and proves it
  descriptors   what may stay open
  confinement   namespaces, capabilities, Landlock
  seccomp       the filter of system calls
  escapes       every known way out
  proof         tries them all
  syscalls      numbers by architecture, and how to make one
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runtime.library import Model

__all__ = ["open"]


def open(bundle: str | None = None, **options: Any) -> Model:  # noqa: A001 - what it does, as in `wave.open`
    """A model of a mounted bundle, verified as it is loaded: `runtime.open("demo")`.

    Args:
        bundle: the bundle's name, where several are mounted.
        **options: as `runtime.library.load` takes them: model, root, device, compute_type,
            workers, verified_load, diarization.

    Raises:
        UsageError: nothing is mounted, there is no such model, or no such device.
        DamagedError: a file is not the one that was signed.
        AirgapError: the engine cannot load it.
    """
    from runtime import library  # noqa: PLC0415 - the engine costs a second to import

    return library.load(bundle, **options)
