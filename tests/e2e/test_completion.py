"""Completion in a shell, as `airgap --install-completion` sets it up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.heavy

AIRGAP = Path(sys.executable).parent / "airgap"

COMPLETE = """
PATH=$(dirname "$AIRGAP"):$PATH
. "$HOME/.bash_completions/airgap.sh"
COMP_WORDS=($TYPED "$LAST") COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
$(complete -p airgap | grep -o '_airgap[a-z_]*') airgap
printf '%s\\n' "${COMPREPLY[@]}"
"""
"""What bash does where Tab is pressed."""


def in_bash(home, script, **more):
    environment = {**os.environ, "HOME": str(home), "AIRGAP": str(AIRGAP), **more}
    environment["AIRGAP_ROOT"] = str(home / "root")
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_bash_completes_verbs_and_options(tmp_path):
    told = in_bash(tmp_path, '"$AIRGAP" --install-completion; true')
    assert "bash completion installed" in told
    assert "airgap.sh" in (tmp_path / ".bashrc").read_text()
    for typed, last, expected in (
        ("airgap", "tr", ["trust", "transcribe"]),
        ("airgap", "bui", ["build"]),
        ("airgap trust", "ro", ["rotate"]),
        ("airgap verify", "--expl", ["--explain"]),
    ):
        said = in_bash(tmp_path, COMPLETE, TYPED=typed, LAST=last)
        assert said.split() == expected
    assert not (tmp_path / "root").exists()
