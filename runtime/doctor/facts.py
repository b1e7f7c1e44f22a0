"""What the checks judge: facts about a host, and about a bundle on it. Sizes in bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from airgap.finding import Trouble
from airgap.trust_check import Concern
from runtime.engine.speakers.choosing import Diarization
from runtime.verified_load import VerifiedLoad


@dataclass(frozen=True)
class Wish:
    """What is going to be asked of `airgap serve`, in its own options."""

    models: tuple[str, ...] = ()
    device: str = "auto"
    compute_type: str = "auto"
    verified_load: VerifiedLoad = VerifiedLoad.BUFFER
    diarization: Diarization = Diarization.AUTO
    emotion: bool = False


@dataclass(frozen=True)
class Trust:
    """The trust store, the record of accepted bundles, the clock, the audit log.

    Attributes:
        store: of the policy: how many signers it has; or why it cannot be read.
        concerns: about a policy that can.
        newest: the latest time that the record vouches for; None for a host that mounted nothing.
        record: why the record cannot be read.
        clock: of this host.
        audit: what holds of the log, in words; None where there is none yet; or why it is not
            sound.
    """

    store: int | Trouble
    concerns: tuple[Concern, ...]
    newest: datetime | None
    record: Trouble | None
    clock: datetime
    audit: str | Trouble | None


@dataclass(frozen=True)
class Place:
    """The host's root, as this user sees it.

    Attributes:
        root: the folder; it may not exist yet.
        free: bytes that this user may still write there; None where they cannot be told.
        free_files: how many more files its file system holds; None where it does not count them.
        writable: whether this user may write the root, or make it.
        open_to_others: folders that others than their owner may write.
        spool: the folder for large recordings.
        spool_owner: whom it belongs to; None where there is none.
        spool_makeable: whether this user could make it.
        user: this process's user id.
        temporary: the folder for short-lived copies.
        temporary_free: bytes free there; None where this user cannot write it.
    """

    root: Path
    free: int | None
    free_files: int | None
    writable: bool
    open_to_others: tuple[Path, ...]
    spool: Path
    spool_owner: int | None
    spool_makeable: bool
    user: int
    temporary: Path
    temporary_free: int | None


@dataclass(frozen=True)
class Gpu:
    """One GPU: its name, compute capability and memory."""

    name: str
    capability: tuple[int, int]
    memory: int


@dataclass(frozen=True)
class Cuda:
    """NVIDIA's side of this host, asked of the driver itself.

    Attributes:
        boards: NVIDIA boards on the PCI bus, driver or not.
        driver: the newest CUDA that the driver runs, (12, 4); None where there is none to load.
        error: what the driver answers instead of starting.
        gpus: those that it shows to this process.
        cublas: whether cuBLAS 12 can be loaded.
        wheels: folders of NVIDIA's wheels that hold it.
    """

    boards: int
    driver: tuple[int, int] | None
    error: str | None
    gpus: tuple[Gpu, ...]
    cublas: bool
    wheels: tuple[str, ...]


@dataclass(frozen=True)
class Machine:
    """Processor, memory, and what the engine chooses on them.

    Attributes:
        architecture: `x86_64`, `aarch64`.
        features: instruction sets, as the kernel names them.
        cores: that this process may use.
        memory: of the machine, or of this control group where that is less.
        available: of it, now.
        engine: what CTranslate2 would compute on, and how; or why it would not. None where it is
            not installed.
        cuda: what NVIDIA's driver says.
    """

    architecture: str
    features: frozenset[str]
    cores: int
    memory: int
    available: int
    engine: str | Trouble | None
    cuda: Cuda


@dataclass(frozen=True)
class Carried:
    """The engine in a bundle's runtime, while this process has none.

    Attributes:
        title: of the bundle.
        fix: what to type.
        to_come: whether the bundle is not mounted yet, so that nothing is amiss.
    """

    title: str
    fix: str
    to_come: bool


@dataclass(frozen=True)
class Libraries:
    """What is installed, found without importing it.

    Attributes:
        versions: by distribution; those that are installed.
        torch_cuda: the CUDA that torch was built for; None for a CPU build, or none installed.
        torchaudio_cuda: whether torchaudio has compiled parts that want CUDA.
        carried: the engine of a bundle that is examined as well, where this process has none.
    """

    versions: Mapping[str, str]
    torch_cuda: str | None
    torchaudio_cuda: bool
    carried: Carried | None = None


@dataclass(frozen=True)
class Surroundings:
    """What stands around a process: variables, networks, and what the guard can do about them.

    Attributes:
        variables: those that a check asks for, as they are set.
        routes: interfaces of default routes, those that answer with an error left out.
        resolvers: name servers beyond this host.
        guard: how the network would be left, in a sentence; or why it could not be.
    """

    variables: Mapping[str, str]
    routes: tuple[str, ...]
    resolvers: tuple[str, ...]
    guard: str | Trouble


@dataclass(frozen=True)
class Host:
    """Everything that is known about a host."""

    wish: Wish
    trust: Trust
    place: Place
    machine: Machine
    libraries: Libraries
    surroundings: Surroundings


@dataclass(frozen=True)
class Model:
    """A model of a bundle."""

    id: str
    role: str
    engine: str | None
    size: int


@dataclass(frozen=True)
class Mount:
    """What holds of a bundle that is mounted.

    Attributes:
        differ: files that are missing, or of another size or (small ones) content.
        unsigned: paths in the mount that nobody signed.
        bad_refs: `refs` of a hub cache that are as signed, and hold more than the 40 digits of a
            commit.
        incomplete: why models lack files, a sentence each.
        standing: what today's policy says of it; or why it may not be served on.
        shadows: folders elsewhere that other programs take the same models from.
        astray: variables that lead other programs elsewhere, a sentence each.
        created: when the bundle was made.
    """

    cache_root: Path
    differ: tuple[str, ...]
    unsigned: tuple[Path, ...]
    bad_refs: tuple[str, ...]
    incomplete: tuple[str, ...]
    standing: tuple[str, ...] | Trouble
    shadows: tuple[str, ...]
    astray: tuple[str, ...]
    created: datetime


@dataclass(frozen=True)
class Offer:
    """What holds of a bundle that is not mounted yet, or only planned.

    Attributes:
        to_store: bytes that mounting it would write.
        left_out: files that it leaves to a base, and that the store lacks.
        base: of a delta, NAME-VERSION.
    """

    to_store: int
    left_out: int = 0
    base: str | None = None


@dataclass(frozen=True)
class Bundle:
    """A bundle on a host: mounted, offered, or neither, where it cannot be read or trusted.

    Attributes:
        title: NAME-VERSION, or what it is called where that is not known; None for no bundle.
        promise: why what it promises cannot be kept here.
        carried: the engine that it carries, where this process has none.
        trouble: why nothing more is known about it.
    """

    host: Host
    title: str | None
    models: tuple[Model, ...] = ()
    promise: Trouble | None = None
    carried: Carried | None = None
    mount: Mount | None = None
    offer: Offer | None = None
    trouble: Trouble | None = None
