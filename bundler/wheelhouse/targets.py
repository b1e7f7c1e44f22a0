"""What a wheelhouse is made for: a Python and a platform, by the tags that wheels bear."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from airgap.yaml_document import Form

if TYPE_CHECKING:
    from packaging.tags import Tag

PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
"""The versions of CPython that this project runs on."""

# The versions of glibc that the resolver knows.
_GLIBC: Final = "17|28|31|32|33|34|35|36|37|38|39|40"
_PLATFORM: Final = rf"manylinux_2_(?:{_GLIBC})_(?:x86_64|aarch64)"

_OLDEST: Final = 5
_FORMER_NAMES: Final = {17: "manylinux2014_{}", 12: "manylinux2010_{}", 5: "manylinux1_{}"}
"""What platforms were called before PEP 600, by their version of glibc."""

PLATFORM: Final = Form(
    re.compile(_PLATFORM),
    "a platform such as manylinux_2_28_x86_64 (PEP 600; glibc 2.17, 2.28 or 2.31 to 2.40; "
    "x86_64 or aarch64)",
)
TARGET: Final = Form(
    re.compile(rf"cp3(?:{'|'.join(one[2:] for one in PYTHONS)})-{_PLATFORM}"),
    "a target such as cp311-manylinux_2_28_x86_64",
)


@dataclass(frozen=True, order=True)
class Target:
    """A CPython on a Linux.

    Attributes:
        python: `3.11`.
        platform: `manylinux_2_28_x86_64`: glibc 2.28 or newer (PEP 600).
    """

    python: str
    platform: str

    @classmethod
    def parse(cls, name: str) -> Target:
        """The target of a name that `TARGET` fits; `Target.parse(target.name) == target`."""
        tag, _, platform = name.partition("-")
        return cls(f"3.{tag.removeprefix('cp3')}", platform)

    @property
    def name(self) -> str:
        """`cp311-manylinux_2_28_x86_64`, as files are called."""
        return f"cp{self.python.replace('.', '')}-{self.platform}"

    @property
    def machine(self) -> str:
        """`x86_64` or `aarch64`, as `uname -m` says."""
        return self.platform.split("_", 3)[3]

    @property
    def resolver_platform(self) -> str:
        """`x86_64-manylinux_2_28`, as uv calls it."""
        return f"{self.machine}-{self.platform.removesuffix(f'_{self.machine}')}"

    def ranks(self) -> dict[Tag, int]:
        """The tags of wheels that fit, the best first, in pip's order."""
        from packaging import tags  # noqa: PLC0415 - a lock is read without the extra

        version = (3, int(self.python.partition(".")[2]))
        newest = int(self.platform.split("_")[2])
        platforms = [
            name.format(self.machine)
            for minor in range(newest, _OLDEST - 1, -1)
            for name in (f"manylinux_2_{minor}_{{}}", _FORMER_NAMES.get(minor, ""))
            if name
        ]
        tag = f"cp{self.python.replace('.', '')}"
        fitting = (
            *tags.cpython_tags(version, abis=[tag], platforms=platforms),
            *tags.compatible_tags(version, interpreter=tag, platforms=platforms),
        )
        return {one: rank for rank, one in reversed(list(enumerate(fitting)))}

    def environment(self) -> dict[str, str]:
        """What environment markers (PEP 508) are asked about there."""
        return {
            "implementation_name": "cpython",
            "implementation_version": f"{self.python}.0",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }
