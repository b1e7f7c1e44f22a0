"""What a build adds to the tree for the runtime: this project's wheel, and requirements by target.

Neither can stand in a lock: the wheel is of the version that builds, and the requirements name it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from airgap import __version__
from airgap.manifest import Artifact, Derived
from bundler.layout import WHEELS, Built, Made, Tree
from bundler.lock import Lock
from bundler.wheelhouse.locked import LockedRuntime, LockedTarget
from bundler.wheelhouse.names import WheelName, identity
from bundler.wheelhouse.own import FILE, PROJECT, OwnWheel, own_wheel

RULE: Final = "wheel-requirements"
"""The rule that derives `requirements-TARGET.txt`: a line for each wheel that it installs."""

BUILT_RULE: Final = "wheel-from-sdist"
"""The rule that derives a wheel: of an sdist, and by the wheels of a build backend, as purls."""


def with_programs(tree: Tree, lock: Lock) -> Tree:
    """The tree with what its wheels need to be installed; as it is, where it has none.

    Raises:
        UsageError, AirgapError: this project is not installed as it should be.
    """
    if lock.runtime is None:
        return tree
    wheel = own_wheel()
    own = Artifact(
        id=identity(f"{PROJECT}=={__version__}"),
        role="wheels",
        engine=None,
        path=WHEELS,
        repository=None,
        commit=None,
        licence=wheel.metadata.licence,
        gated=False,
    )
    lists = tuple(_requirements(lock.runtime, one, wheel, own) for one in lock.runtime.targets)
    return replace(
        tree,
        artifacts=(*tree.artifacts, own),
        made=(*tree.made, *lists),
        built=(*tree.built, Built(f"{WHEELS}/{FILE}", own.id, wheel.content)),
        derived=(
            *tree.derived,
            *(
                Derived(f"{WHEELS}/{one.files[0].path}", BUILT_RULE, one.recipe.purls)
                for one in lock.runtime.releases
                if one.recipe
            ),
        ),
    )


def _requirements(
    runtime: LockedRuntime, target: LockedTarget, wheel: OwnWheel, own: Artifact
) -> Made:
    digests = {file.path: file.sha256 for one in runtime.releases for file in one.files}
    lines = [
        f"{WheelName.parse(file).release} --hash=sha256:{digests[file]}" for file in target.wheels
    ]
    ours = f"{PROJECT}[{','.join(runtime.extras)}]=={__version__}"
    lines.append(f"{ours} --hash=sha256:{wheel.sha256}")
    path = f"{WHEELS}/requirements-{target.target.name}.txt"
    sources = tuple(f"{WHEELS}/{file}" for file in sorted((*target.wheels, FILE)))
    content = "".join(f"{line}\n" for line in sorted(lines)).encode()
    return Made(Derived(path, RULE, sources), own.id, content)
