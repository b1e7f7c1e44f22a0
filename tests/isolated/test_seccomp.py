"""The filter's program, run in a small interpreter: so arm64 is checked on x86-64 and the reverse.

That the kernel agrees is shown by the escapes in test_offline.py.
"""

from __future__ import annotations

import errno
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.seccomp import ALONE, CLONE_THREAD, MSG_FASTOPEN, REFUSED, UNCHANGED, alone, program
from runtime.syscalls import ARM64, NEWEST, X86_64, Machine

ALLOW = 0x7FFF_0000
KILL = 0x8000_0000
EPERM = 0x0005_0000 | errno.EPERM
ENOSYS = 0x0005_0000 | errno.ENOSYS
SUCCESS = 0x0005_0000

BOTH = pytest.mark.parametrize("machine", [X86_64, ARM64], ids=lambda machine: machine.name)


def verdict(
    machine: Machine,
    number: int,
    *arguments: int,
    audit: int | None = None,
    made: Callable[[Machine], bytes] = program,
) -> int:
    """What the filter returns for a call, by the rules of classic BPF."""
    seen = struct.pack(
        "=IIQ6Q", number, audit or machine.audit, 0, *(*arguments, *[0] * (6 - len(arguments)))
    )
    steps = list(struct.iter_unpack("=HBBI", made(machine)))
    accumulator = position = 0
    while True:
        code, if_true, if_false, value = steps[position]
        position += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", seen, value)
            case 0x54:
                accumulator &= value
            case 0x15:
                position += if_true if accumulator == value else if_false
            case 0x25:
                position += if_true if accumulator > value else if_false
            case 0x45:
                position += if_true if accumulator & value else if_false
            case 0x06:
                return int(value)
            case _:
                pytest.fail(f"instruction {code:#x}")


@BOTH
@pytest.mark.parametrize("name", REFUSED)
def test_refused_whatever_the_arguments(machine: Machine, name: str) -> None:
    number = machine.numbers[name]
    assert verdict(machine, number) == EPERM
    assert verdict(machine, number, *[(1 << 64) - 1] * 6) == EPERM


@BOTH
def test_everything_that_no_rule_names_passes(machine: Machine) -> None:
    names_by_number = {number: name for name, number in machine.numbers.items()}
    passing = {number for number in range(NEWEST + 1) if verdict(machine, number) == ALLOW}
    stopped = {names_by_number[number] for number in set(range(NEWEST + 1)) - passing}
    assert stopped == {*REFUSED, "clone3", "socketpair"}  # a pair of family 0 is none


@BOTH
@pytest.mark.parametrize("number", [NEWEST + 1, 512, 0x4000_0000 | 41, (1 << 32) - 1])
def test_numbers_that_nobody_judged_do_not_exist(machine: Machine, number: int) -> None:
    assert verdict(machine, NEWEST) == ALLOW
    assert verdict(machine, number) == ENOSYS


@BOTH
@pytest.mark.parametrize("audit", [0x4000_0003, 0x4000_0028, 0xC000_00F3])
def test_another_architecture_is_killed(machine: Machine, audit: int) -> None:
    assert verdict(machine, machine.numbers["prctl"], audit=audit) == KILL


@BOTH
def test_clone_makes_threads_and_children_but_no_namespace(machine: Machine) -> None:
    clone = machine.numbers["clone"]
    thread = 0x003D_0F00
    assert verdict(machine, clone, thread) == ALLOW
    assert verdict(machine, clone, 17) == ALLOW
    for bit in (17, 25, 26, 27, 28, 29, 30):
        assert verdict(machine, clone, 17 | 1 << bit) == EPERM
    assert verdict(machine, machine.numbers["clone3"]) == ENOSYS


@BOTH
def test_only_a_pair_of_unix_streams(machine: Machine) -> None:
    pair = machine.numbers["socketpair"]
    unix, internet, tipc = 1, 2, 30
    stream, datagram, raw, packet = 1, 2, 3, 5
    non_blocking, close_on_exec = 0x800, 0x80000
    assert verdict(machine, pair, unix, stream) == ALLOW
    assert verdict(machine, pair, unix, stream | non_blocking | close_on_exec) == ALLOW
    for kind in (datagram, raw, packet, datagram | close_on_exec, packet | non_blocking):
        assert verdict(machine, pair, unix, kind) == EPERM
    for family in (internet, tipc):
        assert verdict(machine, pair, family, stream) == EPERM
    # The kernel reads these as `int`: what stands above is not there.
    assert verdict(machine, pair, unix, 1 << 32 | datagram) == EPERM
    assert verdict(machine, pair, 1 << 32 | unix, stream) == ALLOW


@BOTH
def test_sending_does_not_connect_and_names_nobody(machine: Machine) -> None:
    send, message, messages = (machine.numbers[n] for n in ("sendto", "sendmsg", "sendmmsg"))
    no_signal = 0x4000
    assert verdict(machine, send, 3, 0x7FFF_0000, 5, no_signal, 0, 0) == ALLOW
    assert verdict(machine, send, 3, 0x7FFF_0000, 5, no_signal | MSG_FASTOPEN, 0, 0) == EPERM
    assert verdict(machine, send, 3, 0x7FFF_0000, 5, 0, 0x1000, 16) == EPERM
    assert verdict(machine, send, 3, 0x7FFF_0000, 5, 0, 0x7FFF << 32, 16) == EPERM
    assert verdict(machine, message, 3, 0x7FFF_0000, no_signal) == ALLOW
    assert verdict(machine, message, 3, 0x7FFF_0000, MSG_FASTOPEN) == EPERM
    assert verdict(machine, messages, 3, 0x7FFF_0000, 1, no_signal) == ALLOW
    assert verdict(machine, messages, 3, 0x7FFF_0000, 1, MSG_FASTOPEN | 1 << 32) == EPERM


@BOTH
def test_nothing_is_typed_into_the_terminal_and_no_tunnel_attached(machine: Machine) -> None:
    control = machine.numbers["ioctl"]
    window_size, type_in, linux_console, tunnel = 0x5413, 0x5412, 0x541C, 0x400454CA
    assert verdict(machine, control, 0, window_size) == ALLOW
    assert verdict(machine, control, 0, type_in) == EPERM
    assert verdict(machine, control, 0, linux_console) == EPERM
    assert verdict(machine, control, 0, tunnel) == EPERM
    assert verdict(machine, control, 0, 1 << 32 | type_in) == EPERM  # snapd's CVE-2019-7303


@BOTH
def test_a_stranger_builds_alone(machine: Machine) -> None:
    for name in ALONE:
        if name in machine.numbers:
            assert verdict(machine, machine.numbers[name], made=alone) == EPERM
    for name in UNCHANGED:
        if name in machine.numbers:
            assert verdict(machine, machine.numbers[name], made=alone) == SUCCESS
    clone = machine.numbers["clone"]
    assert verdict(machine, clone, CLONE_THREAD | 0x100, made=alone) == ALLOW
    assert verdict(machine, clone, 17, made=alone) == EPERM  # SIGCHLD: as fork has it
    assert verdict(machine, 0, made=alone) == ALLOW


@pytest.mark.parametrize(
    ("machine", "header"),
    [
        (X86_64, "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
        (ARM64, "/usr/include/asm-generic/unistd.h"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_numbers_are_those_of_the_kernel_headers(machine: Machine, header: str) -> None:
    path = Path(header)
    if not path.exists():
        pytest.skip(f"{header} is not installed (Debian: linux-libc-dev)")
    defined = {
        name: int(number)
        for name, number in re.findall(r"#define __NR_(\w+)\s+(\d+)", path.read_text())
    }
    known = {name: number for name, number in machine.numbers.items() if name in defined}
    assert len(known) > 35
    assert known == {name: defined[name] for name in known}
