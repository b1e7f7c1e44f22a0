"""Leaving the network, each time in a process of its own: there is no way back.

The escapes themselves are tried by `runtime.proof`. Here each is first shown to work where the
guard is not, and then to be seen where one rule of the guard is missing.
"""

from __future__ import annotations

import json
import os
import platform
import re
import socket
import subprocess
import sys
import textwrap
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from airgap.errors import AirgapError, UsageError
from runtime.escapes import known
from runtime.offline import OFFLINE_VARIABLES, Isolation, leave_network
from runtime.syscalls import machine

PRELUDE = """
import asyncio, errno, json, os, socket, struct, subprocess, sys, threading
from contextlib import suppress
from pathlib import Path
from airgap.errors import AirgapError
from runtime import confinement, escapes, offline, proof, seccomp
from runtime.descriptors import open_descriptors
from runtime.syscalls import call, machine

def become_nobody(dumpable=1):
    # An interpreter in root's home cannot be started by another user: change after the imports.
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    call("prctl", 4, dumpable, 0, 0, 0)  # as a program that this user had started

def forbid(verdict, *names):
    # A filter of whoever started us: a container's, a service manager's.
    steps = [struct.pack("=HBBI", 0x20, 0, 0, 0)]
    for name in names:
        steps.append(struct.pack("=HBBI", 0x15, 0, 1, machine().numbers[name]))
        steps.append(struct.pack("=HBBI", 0x06, 0, 0, verdict))
    steps.append(struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000))
    call("prctl", 38, 1, 0, 0, 0)
    seccomp.install(b"".join(steps))

FAIL, KILL = 0x00050001, 0x80000000

def in_child(work):
    # What `work` returned or raised, from a child of this process.
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writing, 1)
        try:
            answer = work()
        except AirgapError as error:
            answer = error.message
        os.write(1, json.dumps(answer).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        answer = stream.read()
    os.waitpid(child, 0)
    return json.loads(answer)
"""

STATUS = Path("/proc/self/status").read_text()
RIGHTS = int(re.findall(r"CapEff:\s*(\w+)", STATUS)[0], 16)
SETUID, SYS_ADMIN = 1 << 7, 1 << 21
EVERY_USER = Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]

BECOMES_OTHERS = pytest.mark.skipif(
    not (EVERY_USER and RIGHTS & SETUID), reason="needs root, to become another user"
)
PRIVILEGED = EVERY_USER and bool(RIGHTS & SYS_ADMIN)
AS_PRIVILEGED = pytest.mark.skipif(not PRIVILEGED, reason="needs root with all its capabilities")


def in_process(code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    script = PRELUDE + textwrap.dedent(code)
    command = [sys.executable, "-W", "error", "-c", script]
    options = {"capture_output": True, "text": True, "timeout": 60} | options
    return subprocess.run(command, check=False, **options)


def answer_of(code: str, **options: Any) -> Any:
    """The JSON that the process printed last; it must have ended well."""
    done = in_process(code, **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# --- each escape, without the guard and with it ----------------------------------------------

KERNEL_ANSWERS = {
    # Not the guard's answer, and no way out: so the guard would take it for one, rightly.
    "a socket of another family": {"EAFNOSUPPORT"},  # the first that is asked for
    "pasting into the console": {"ENOTTY"},  # needs a virtual console, and would type into it
    "a mount": {"EINVAL"},  # a real one would change the host
}

DEPENDS_ON_THE_HOST = {
    "an IPv6 socket": {"EAFNOSUPPORT"},
    "a socket to the hypervisor": {"EAFNOSUPPORT", "EPERM"},
    "a key added": {"EPERM", "ENOSYS"},
    "a key asked for": {"EPERM", "ENOSYS"},
    "a keyring": {"EPERM", "ENOSYS"},
    "a new user namespace": {"EPERM", "ENOSPC"},
    "a child in a new user namespace": {"EPERM", "ENOSPC"},
    "a child in a new user namespace, by clone3": {"EPERM", "ENOSPC", "ENOSYS"},
    "io_uring": {"EPERM", "ENOSYS"},
    "typing into the terminal": {"EIO"},
    "a tunnel": {"ENOTTY", "EINVAL"},
    "the x32 table of system calls": {"ENOSYS"},
    "the 32-bit table of system calls": {"SIGSEGV", "ENOSYS"},
}

NEEDS_PRIVILEGE = {
    "a packet socket",
    "the old network namespace",
    "capabilities taken back",
    "a program in the kernel",
    "a file system opened",
    "a mount",
    "a tunnel",
}


@pytest.fixture(scope="module")
def without_guard() -> dict[str, str]:
    return answer_of("""
        found = {}
        left_open = os.dup(0)
        for escape in escapes.known():
            with proof.laid_bait(()) as bait:
                found[escape.name] = proof.outcomes([escape], bait)[0]
        print(json.dumps(found))
    """)


@pytest.mark.parametrize("name", [escape.name for escape in known()])
def test_an_escape_works_where_the_guard_is_not(name: str, without_guard: dict[str, str]) -> None:
    found = without_guard[name]
    if name in NEEDS_PRIVILEGE and not PRIVILEGED:
        pytest.skip("needs root with all its capabilities to work at all")
    if found in DEPENDS_ON_THE_HOST.get(name, ()):
        pytest.skip(f"this host does not have it: {found}")
    assert found in KERNEL_ANSWERS.get(name, {"worked"})


SITUATIONS = {
    "as we are": ("", {"network namespace", "user namespace"}),
    "in a container": ('forbid(FAIL, "unshare")', set()),
    "without Landlock": (
        'forbid(FAIL, "landlock_create_ruleset")',
        {"network namespace", "user namespace"},
    ),
    "under a manager that kills": (
        'forbid(KILL, "ptrace", "bpf", "mount", "keyctl")',
        {"network namespace", "user namespace"},
    ),
    "in an empty network": (
        "confinement.enter_empty_network(os.geteuid(), os.getegid())",
        {"network namespace", "user namespace"},
    ),
    "a second time": ("offline.leave_network()", set()),
}


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("user", ["as we are", pytest.param("nobody", marks=BECOMES_OTHERS)])
def test_no_escape_works_after_leaving(user: str, situation: str) -> None:
    prepare, namespaces = SITUATIONS[situation]
    if "user namespace" in namespaces and not _gives_user_namespaces():
        pytest.skip("this host gives no user namespaces")
    found = answer_of(f"""
        {"become_nobody()" if user == "nobody" else ""}
        user = os.getuid()
        {prepare}
        held = offline.leave_network()
        assert os.getuid() == user
        print(json.dumps([held.mechanisms, held.escapes_tried]))
    """)
    mechanisms, tried = found
    always = {"seccomp filter", "no new privileges", "no capabilities"}
    assert set(mechanisms) - {"Landlock"} == always | namespaces
    assert tried == [escape.name for escape in known()]


def _gives_user_namespaces() -> bool:
    return subprocess.run(["unshare", "-Urn", "true"], check=False).returncode == 0


# --- the proof fails when the guard does ------------------------------------------------------

SEEN_BY = {
    "socket": "an IPv4 socket",
    "connect": "a listener, disconnected and connected out",
    "bind": "a bound socket",
    "io_uring_setup": "io_uring",
    "unshare": "a new user namespace",
    "ptrace": "tracing",
    "pidfd_getfd": "another process's descriptors",
    "process_vm_readv": "another process's memory, read",
    "process_vm_writev": "another process's memory, written",
    "add_key": "a key added",
    "request_key": "a key asked for",
    "keyctl": "a keyring",
}


# The others (setns, bpf, mounts) fail without their rule, too: there is no capability left.


def test_a_rule_that_is_missing_is_noticed_and_refused(without_guard: dict[str, str]) -> None:
    found = answer_of(f"""
        rules = seccomp.REFUSED
        def without(rule):
            seccomp.REFUSED = tuple(name for name in rules if name != rule)
            return offline.leave_network().sentence()
        names = {tuple(SEEN_BY)}
        print(json.dumps({{rule: in_child(lambda: without(rule)) for rule in names}}))
    """)
    for rule, escape in SEEN_BY.items():
        if without_guard[escape] != "worked":
            continue  # on this host it is stopped by others
        start, _, end = found[rule].partition(" by ")
        assert start == "the process could still reach a network"
        assert end.endswith(": refusing")
        assert escape in end.removesuffix(": refusing").split("; by "), rule


def test_what_is_refused_by_its_arguments_is_noticed_too(without_guard: dict[str, str]) -> None:
    found = answer_of("""
        when = seccomp._when
        def without(names):
            numbers = {machine().numbers[name] for name in names}
            seccomp._when = lambda number, *steps: [] if number in numbers else when(number, *steps)
            return offline.leave_network().sentence()
        names = "sendto", "sendmsg", "sendmmsg", "socketpair", "clone", "clone3", "ioctl"
        print(json.dumps({name: in_child(lambda: without([name])) for name in names}))
    """)
    expected = {
        "sendto": "a listener, shut down and sent from",
        "sendmsg": "a listener, shut down and a message sent from",
        "sendmmsg": "a listener, shut down and messages sent from",
        "socketpair": "a pair of datagram sockets; by a pair of packet sockets",
        "clone": "a child in a new user namespace",
        "clone3": "a child in a new user namespace, by clone3",
        "ioctl": "typing into the terminal; by pasting into the console",
    }
    for name, escape in expected.items():
        if any(without_guard[each] == "EPERM" for each in escape.split("; by ")):
            continue  # on this host it is stopped by others
        refusal = f"the process could still reach a network by {escape}"
        ends = (": refusing", "; by a tunnel: refusing")  # the device may be closed to us
        assert found[name] in {refusal + end for end in ends}


def test_a_namespace_alone_leaves_the_listener_a_way_out() -> None:
    if not _gives_user_namespaces():
        pytest.skip("this host gives no user namespaces")
    with socket.create_server(("127.0.0.1", 0)) as outside:
        outside.settimeout(10)
        found = answer_of(f"""
            name = "a listener, disconnected and connected out"
            escape = next(each for each in escapes.known() if each.name == name)
            port = {outside.getsockname()[1]}
            target = struct.pack("=H", socket.AF_INET) + struct.pack("!H4B8x", port, 127, 0, 0, 1)
            with proof.laid_bait(()) as bait:
                confinement.enter_empty_network(os.geteuid(), os.getegid())
                bait = proof.Bait(bait.listener, bait.peer, target, bait.old_network, bait.expected)
                print(json.dumps(proof.outcomes([escape], bait)))
        """)
        connection, _ = outside.accept()
        connection.close()
    assert found == ["worked"]


@AS_PRIVILEGED
def test_a_namespace_alone_lets_root_walk_back() -> None:
    found = answer_of("""
        escape = next(each for each in escapes.known() if each.name == "the old network namespace")
        with proof.laid_bait(()) as bait:
            call("unshare", 0x40000000)
            print(json.dumps(proof.outcomes([escape], bait)))
    """)
    assert found == ["worked"]


@BECOMES_OTHERS
def test_memory_of_others_is_a_way_out_where_nothing_parts_us_from_them() -> None:
    code = """
        become_nobody()
        if os.fork() == 0:  # orphaned at once: somebody else's process of the same user
            if os.fork() == 0:
                os.closerange(1, 3)
                os.read(0, 1)  # until the test ends
            os._exit(0)
        os.wait()
        forbid(FAIL, {forbidden})
        try:
            print(offline.leave_network().sentence())
        except AirgapError as error:
            print(error.message, error.hint, sep="|", file=sys.stderr)
            sys.exit(error.exit_code)
    """
    reading, writing = os.pipe()
    try:
        bare = in_process(
            code.format(forbidden='"unshare", "landlock_create_ruleset"'), stdin=reading
        )
        assert bare.returncode == 1
        message, hint = bare.stderr.strip().split("|")
        way = "another process's memory file"
        assert message == f"the process could still reach a network by {way}: refusing"
        assert "--allow-network" in hint
        if "Landlock" in answer_of("print(json.dumps(offline.leave_network().mechanisms))"):
            parted = in_process(code.format(forbidden='"unshare"'), stdin=reading)
            assert parted.returncode == 0, parted.stderr
    finally:
        os.close(writing)
        os.close(reading)


@AS_PRIVILEGED
def test_root_gets_an_empty_network_where_user_namespaces_are_used_up() -> None:
    found = answer_of("""
        call("unshare", 0x10000000)
        confinement._keep_ids(0, 0)
        # The limit of this user namespace alone, which ends with the process.
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
        print(json.dumps(offline.leave_network().mechanisms))
    """)
    assert "network namespace" in found
    assert "user namespace" not in found


@BECOMES_OTHERS
def test_ids_that_cannot_be_mapped_do_not_stop_it(tmp_path: Path) -> None:
    if not _gives_user_namespaces():
        pytest.skip("this host gives no user namespaces")
    tmp_path.chmod(0o700)
    own = tmp_path / "own"
    own.write_text("readable")
    for path in (tmp_path, own):
        os.chown(path, 65534, 65534)
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        found = answer_of(
            f"""
            become_nobody(dumpable=0)  # then /proc/self belongs to root
            held = offline.leave_network(keep=[{folder}])
            with open(os.open("own", os.O_RDONLY, dir_fd={folder})) as stream:
                print(json.dumps([held.mechanisms, stream.read()]))
            """,
            pass_fds=[folder],
        )
    finally:
        os.close(folder)
    assert {"network namespace", "user namespace"} <= set(found[0])
    assert found[1] == "readable"


# --- what goes on working ---------------------------------------------------------------------


def test_threads_and_children_start_and_have_no_network() -> None:
    found = answer_of("""
        offline.leave_network()
        errors = []
        def dial():
            try:
                socket.create_connection(("127.0.0.1", 9), 1)
            except OSError as error:
                errors.append(error.errno)
        thread = threading.Thread(target=dial)
        thread.start()
        thread.join()
        dial()
        code = "import socket; socket.socket()"
        child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        try:
            socket.getaddrinfo("huggingface.co", 443)
        except socket.gaierror:
            errors.append("no name")
        print(json.dumps([errors, child.returncode, child.stderr.splitlines()[-1]]))
    """)
    assert found == [[1, 1, "no name"], 1, "PermissionError: [Errno 1] Operation not permitted"]


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_a_server_goes_on_serving_its_listener(family: socket.AddressFamily) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0) if family == socket.AF_INET else "")
        listener.listen()
        code = f"""
            offline.leave_network(keep=[{listener.fileno()}])
            async def answer(reader, writer):
                writer.write((await reader.readline()).upper())
                await writer.drain()
                writer.close()
                await writer.wait_closed()
                served.set()
            async def serve():
                global served
                served = asyncio.Event()
                listener = socket.socket(fileno={listener.fileno()})
                async with await asyncio.start_unix_server(answer, sock=listener) if (
                    listener.family == socket.AF_UNIX
                ) else await asyncio.start_server(answer, sock=listener):
                    await served.wait()
            asyncio.run(serve())
            print("null")
        """
        client = threading.Thread(target=_ask, args=(listener, answers := []))
        client.start()
        assert answer_of(code, pass_fds=[listener.fileno()]) is None
        client.join()
    assert answers == [b"HELLO\n"]


def _ask(listener: socket.socket, answers: list[bytes]) -> None:
    with socket.socket(listener.family, socket.SOCK_STREAM) as client:
        client.settimeout(30)
        client.connect(listener.getsockname())
        client.sendall(b"hello\n")
        answers.append(client.makefile("rb").readline())


def test_nothing_stays_behind() -> None:
    found = answer_of("""
        offline.leave_network()
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            print(json.dumps(sorted(open_descriptors())))
    """)
    assert found == [0, 1, 2]


def test_a_parent_that_ignores_its_children_does_not_blind_the_proof() -> None:
    found = answer_of("""
        import signal
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        tried = offline.leave_network().escapes_tried
        print(json.dumps([len(tried), signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN]))
    """)
    assert found == [len(known()), True]


@pytest.mark.heavy
def test_the_engine_still_loads() -> None:
    found = answer_of("""
        offline.leave_network()
        import ctranslate2, numpy
        square = numpy.ones((64, 64), dtype="float32")
        view = ctranslate2.StorageView.from_array(square @ square)
        print(json.dumps([view.shape, float(numpy.asarray(view).sum())]))
    """)
    assert found == [[64, 64], 64.0**3]


# --- descriptors ------------------------------------------------------------------------------


def test_every_other_descriptor_is_closed(tmp_path: Path) -> None:
    kept, lost = (os.open(tmp_path / name, os.O_RDWR | os.O_CREAT) for name in ("kept", "lost"))
    one, other = socket.socketpair()
    try:
        found = answer_of(
            f"""
            offline.leave_network(keep=[{kept}])
            open_now = []
            for number in ({kept}, {lost}, {one.fileno()}):
                with suppress(OSError):
                    os.fstat(number)
                    open_now.append(number)
            print(json.dumps(open_now))
            """,
            pass_fds=[kept, lost, one.fileno()],
        )
    finally:
        for number in (kept, lost):
            os.close(number)
        one.close()
        other.close()
    assert found == [kept]


def test_a_descriptor_left_open_is_noticed() -> None:
    done = in_process("""
        one, other = socket.socketpair()
        offline.close_all_but = lambda keep: None
        offline.leave_network()
    """)
    assert done.returncode == 1
    assert "reach a network by a descriptor left open: refusing" in done.stderr


KEPT = {
    "a UDP socket": lambda: [socket.socket(socket.AF_INET, socket.SOCK_DGRAM)],
    "a TCP socket that does not listen": lambda: [socket.socket()],
    "a connected Unix stream": socket.socketpair,
    "a device": lambda: [Path("/dev/null").open("rb")],  # noqa: SIM115 - closed by the test
}


@pytest.mark.parametrize("kind", KEPT)
def test_what_may_not_be_kept(kind: str) -> None:
    with ExitStack() as until_tried:
        first, *_ = [until_tried.enter_context(thing) for thing in KEPT[kind]()]
        number = first.fileno()
        done = _refused(f"offline.leave_network(keep=[{number}])", pass_fds=[number])
    assert done == (
        f"cannot leave the network: descriptor {number}, to be kept, is neither a file nor a pipe "
        "nor a listening TCP or Unix stream socket"
    )


def test_what_is_kept_must_be_open() -> None:
    assert _refused("offline.leave_network(keep=[77])") == (
        "cannot leave the network: descriptor 77, to be kept, is not open"
    )


def _refused(code: str, **options: Any) -> str:
    """The message of the AirgapError, raised while nothing was left or closed yet."""
    found = answer_of(
        f"""
        spare = os.dup(0)
        try:
            {code}
        except AirgapError as error:
            os.fstat(spare)
            with suppress(PermissionError):
                socket.socket().close()
                print(json.dumps([error.exit_code, error.message]))
        """,
        **options,
    )
    assert found[0] == AirgapError.exit_code
    return str(found[1])


def test_a_standard_stream_may_not_be_a_network_socket() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        with client, server.accept()[0]:
            message = _refused("offline.leave_network()", stdin=client)
    assert message == "cannot leave the network: standard input is itself a network socket"


def test_a_standard_stream_may_be_a_local_stream() -> None:
    one, other = socket.socketpair()  # as journald gives them to services
    with one, other:
        assert answer_of("print(len(offline.leave_network().mechanisms))", stdin=one) >= 3


def test_a_standard_stream_may_be_closed() -> None:
    code = "os.close(0); print(len(offline.leave_network().mechanisms))"
    assert answer_of(code) >= 3


# --- called too late, spoofed, elsewhere -------------------------------------------------------


def test_a_second_thread_is_refused() -> None:
    message = _refused(
        "threading.Thread(target=threading.Event().wait, daemon=True).start();"
        " offline.leave_network()"
    )
    assert message == (
        "cannot leave the network: expected one thread, found 2; "
        "it must be left before anything starts another"
    )


@pytest.mark.parametrize("name", ["huggingface_hub", "pyannote.audio"])
def test_a_library_that_was_imported_before_is_refused(
    name: str,
) -> None:
    message = _refused(f"sys.modules['{name}'] = sys; offline.leave_network()")
    assert message == (
        f"cannot go offline: '{name}' was imported before, and read its settings then"
    )


def test_no_variable_is_believed() -> None:
    spoofed = {name: "0" if value == "1" else "1" for name, value in OFFLINE_VARIABLES.items()}
    spoofed |= {"AIRGAP_ISOLATED": "1", "AIRGAP_ALLOW_NETWORK": "1", "AIRGAP_OFFLINE": "1"}
    found = answer_of(
        """
        held = offline.leave_network()
        print(json.dumps([dict(os.environ), held.mechanisms]))
        """,
        env=os.environ | spoofed,
    )
    variables, mechanisms = found
    assert {name: variables[name] for name in OFFLINE_VARIABLES} == OFFLINE_VARIABLES
    assert "seccomp filter" in mechanisms


def test_a_kernel_without_filters_is_refused() -> None:
    done = in_process("""
        forbid(FAIL, "seccomp")
        offline.leave_network()
    """)
    assert done.returncode == 1
    expected = "the kernel takes no system call filter: Operation not permitted"
    assert f"AirgapError: cannot leave the network: {expected}" in done.stderr


def test_other_platforms_are_told_where_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(UsageError, match=re.escape("'Linux riscv64'")) as caught:
        leave_network()
    assert caught.value.exit_code == 2
    assert caught.value.hint == "on Windows, run it under WSL2"
    monkeypatch.undo()
    assert machine().name == platform.machine()


def test_the_sentence_names_what_holds() -> None:
    held = Isolation(("seccomp filter", "network namespace"), ("a socket", "io_uring"))
    assert held.sentence() == (
        "no network: seccomp filter, network namespace; 2 escapes tried, none worked"
    )
