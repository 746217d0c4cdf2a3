"""Give up what the signer does not need: its dumps, its network, new programs, other processes' memory.

Every measure is tried, what took effect is told, and nothing is assumed. Linux only, with the C library by ctypes; run
before the key is unlocked and before any thread is started.
"""

import ctypes
import os
import platform
import resource
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PR_GET_DUMPABLE: Final = 3
PR_SET_DUMPABLE: Final = 4
PR_SET_NO_NEW_PRIVS: Final = 38
PR_GET_NO_NEW_PRIVS: Final = 39
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWNET: Final = 0x40000000
SECCOMP_SET_MODE_FILTER: Final = 1
SECCOMP_FILTER_FLAG_TSYNC: Final = 1
EPERM: Final = 1

# Names → numbers per architecture: (AUDIT_ARCH, number of seccomp itself, what is refused).
_X86_64: Final = {
    "socket": 41,
    "connect": 42,
    "sendmmsg": 307,
    "bind": 49,
    "socketpair": 53,
    "execve": 59,
    "execveat": 322,
    "ptrace": 101,
    "process_vm_readv": 310,
    "process_vm_writev": 311,
    "open_by_handle_at": 304,
    "mount": 165,
    "unshare": 272,
    "setns": 308,
    "bpf": 321,
    "io_uring_setup": 425,
    "keyctl": 250,
    "kexec_load": 246,
    "init_module": 175,
    "finit_module": 313,
    "userfaultfd": 323,
    "pidfd_getfd": 438,
}
_AARCH64: Final = {
    "socket": 198,
    "connect": 203,
    "sendmmsg": 269,
    "bind": 200,
    "socketpair": 199,
    "execve": 221,
    "execveat": 281,
    "ptrace": 117,
    "process_vm_readv": 270,
    "process_vm_writev": 271,
    "open_by_handle_at": 265,
    "mount": 40,
    "unshare": 97,
    "setns": 268,
    "bpf": 280,
    "io_uring_setup": 425,
    "keyctl": 219,
    "kexec_load": 104,
    "init_module": 105,
    "finit_module": 273,
    "userfaultfd": 282,
    "pidfd_getfd": 438,
}
ARCHITECTURES: Final = {
    "x86_64": (0xC000003E, 317, _X86_64),
    "aarch64": (0xC00000B7, 277, _AARCH64),
}


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure, whether it took effect, and what came of it in words."""

    name: str
    took_effect: bool
    detail: str


def harden(peer_uids: frozenset[int]) -> list[Measure]:
    """Try every measure, in an order in which none hinders another.

    `peer_uids` are the users who may ask: in a user namespace of its own the process could not tell other users apart,
    so its network is only taken away where it serves its own user alone.
    """
    return [
        _tried("no core dumps", _no_core),
        _tried("no network", lambda: _no_network(peer_uids)),
        _tried("not dumpable", _not_dumpable),
        _tried("no new privileges", _no_new_privileges),
        _tried("system call filter", _filter),
    ]


def _tried(name: str, measure: Callable[[], str]) -> Measure:
    try:
        return Measure(name, True, measure())
    except (OSError, AttributeError, ValueError) as error:
        what = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Measure(name, False, what)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _no_core() -> str:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return "RLIMIT_CORE is 0"


def _no_network(peer_uids: frozenset[int]) -> str:
    uid, gid = os.geteuid(), os.getegid()
    if peer_uids != {uid}:
        raise ValueError("other users may ask here; use PrivateNetwork=yes in systemd")
    libc = _libc()
    _checked(libc.unshare(CLONE_NEWUSER | CLONE_NEWNET))
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")
    if os.geteuid() != uid:
        raise ValueError("the user namespace has another user")
    return "an empty network namespace"


def _not_dumpable() -> str:
    libc = _libc()
    _checked(libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
    if libc.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise ValueError("the kernel did not take it")
    return "others of this user cannot read its memory"


def _no_new_privileges() -> str:
    libc = _libc()
    _checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    if libc.prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1:
        raise ValueError("the kernel did not take it")
    return "no setuid program gives it more"


def _filter() -> str:
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        raise ValueError(f"no filter for {machine}; use SystemCallFilter= in systemd")
    architecture, seccomp, refused = ARCHITECTURES[machine]
    program = filter_program(architecture, list(refused.values()), x32=machine == "x86_64")
    buffer = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    told = Program(len(program) // 8, ctypes.addressof(buffer))
    _checked(
        _libc().syscall(
            ctypes.c_long(seccomp),
            ctypes.c_ulong(SECCOMP_SET_MODE_FILTER),
            ctypes.c_ulong(SECCOMP_FILTER_FLAG_TSYNC),
            ctypes.byref(told),
        )
    )
    return f"{len(refused)} system calls refused, among them socket, connect, execve, ptrace"


def filter_program(architecture: int, refused: list[int], *, x32: bool) -> bytes:
    """The BPF program that answers EPERM to these calls, kills calls of another architecture and allows the rest."""
    load, equal, above, answer = 0x20, 0x15, 0x35, 0x06
    kill, allow, deny = 0x80000000, 0x7FFF0000, 0x00050000 | EPERM
    steps: list[tuple[int, int, int, int]] = [(load, 0, 0, 4), (equal, 1, 0, architecture)]
    steps += [(answer, 0, 0, kill), (load, 0, 0, 0)]
    if x32:
        steps.append((above, len(refused) + 1, 0, 0x40000000))  # the same calls under other numbers
    steps += [(equal, len(refused) - place, 0, number) for place, number in enumerate(refused)]
    steps += [(answer, 0, 0, allow), (answer, 0, 0, deny)]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
