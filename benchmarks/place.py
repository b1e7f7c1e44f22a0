"""A folder with everything that the contenders need, and nothing of the user's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from measure import Contender, output_of

HERE = Path(__file__).resolve().parent
AIRGAP = Path(sys.executable).with_name("airgap")


@dataclass(frozen=True)
class Site:
    """Input as a plain tree, as our bundle and as a plain archive; and a host that trusts it."""

    folder: Path

    @property
    def tree(self) -> Path:
        return self.folder / "tree"

    @property
    def sums(self) -> Path:
        return self.folder / "tree.sha256"

    @property
    def profile(self) -> Path:
        return self.folder / "profile.yaml"

    @property
    def bundle(self) -> Path:
        return self.folder / "bench-1.0.0.tar.zst"

    @property
    def plain(self) -> Path:
        return self.folder / "plain.tar.zst"

    @property
    def out(self) -> Path:
        """Where a run writes; emptied before each."""
        return self.folder / "out"

    @property
    def environment(self) -> Mapping[str, str]:
        return os.environ | {
            "AIRGAP_ROOT": str(self.folder / "root"),
            "AIRGAP_KEYS": str(self.folder / "keys"),
            "AIRGAP_CACHE": str(self.folder / "cache"),
        }

    @property
    def tree_size(self) -> int:
        return sum(path.stat().st_size for path in self.tree.rglob("*") if path.is_file())

    def airgap(self, *arguments: str | Path) -> str:
        return output_of(AIRGAP, *arguments, environment=self.environment)

    def inside(self, *arguments: str | Path) -> str:
        return output_of(
            sys.executable, HERE / "inside.py", *arguments, environment=self.environment
        )

    def contender(self, name: str, command: Sequence[str | Path] | str, size: int) -> Contender:
        return Contender(name, command, size, self.make_room, self.environment)

    def make_room(self) -> None:
        """Forget what an earlier run wrote or mounted; trust stays."""
        root = self.folder / "root"
        for written in (self.out, root / "store", root / "mounts"):
            shutil.rmtree(written, ignore_errors=True)
        self.out.mkdir()


@contextmanager
def prepared(parent: Path, gigabytes: float) -> Iterator[Site]:
    """A site with so many GB of input, in a private folder that goes away again."""
    with tempfile.TemporaryDirectory(prefix="airgap-bench-", dir=parent) as folder:
        site = Site(Path(folder))
        fetched = output_of(AIRGAP, "fetch", "demo", "--json", "--quiet")
        make = (sys.executable, HERE / "weights.py", folder, str(int(gigabytes * 1e9)))
        subprocess.run(list(map(str, make)), input=fetched, text=True, check=True)
        made = json.loads(site.airgap("keygen", "bench", "--unencrypted", "--json", "--quiet"))
        site.airgap("trust", "init", "--quiet")
        public = sorted((site.folder / "keys").glob("bench.*.pub"))
        site.airgap(
            "trust", "add", *public, "--signer", "bench", "--fingerprint", made["fingerprint"]
        )
        site.inside("pack", site.profile, site.bundle)
        site.airgap("sign", site.bundle, "--key", "bench", "--quiet")
        output_of("sh", "-ec", f"tar -C {site.tree} -cf - . | zstd -q -T0 -3 -o {site.plain}")
        yield site
