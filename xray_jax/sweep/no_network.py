"""A process without network: the kernel refuses it, its threads and what it starts every new socket (Linux, seccomp).

A filter rather than a network namespace: it needs no rights, works in containers, which mostly forbid namespaces, and
in a process that has threads already. What is open stays open, so pipes do; pairs of sockets within the process too.
"""

import ctypes
import importlib.metadata
import importlib.util
import os
import platform
import struct
import sys

_CALLS = {"x86_64": (0xC000003E, 41, 42), "aarch64": (0xC00000B7, 198, 203)}
"""Machine -> its number in filters, and of its system calls those that make a socket and connect one."""
_IO_URING_SETUP = 425
_OTHER_ABI = 0x40000000
"""Numbers from here on are system calls of x86-64's second ABI."""
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _MACHINE = 0, 4
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_NO_NEW_PRIVILEGES, _SET_FILTER, _ALL_THREADS = 38, 1, 1
_SECCOMP = {"x86_64": 317, "aarch64": 277}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def cut_off() -> str | None:
    """Cuts this process off, for good.

    Returns:
      Why it cannot be, None where it is done.
    """
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _CALLS:
        return "only Linux on x86-64 and ARM64 has the filter"
    if _has_accelerators():
        return "an accelerator's runtime may need it"
    code = _filter(machine)
    program = _Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        return f"the kernel refuses ({os.strerror(ctypes.get_errno())})"
    status = libc.syscall(_SECCOMP[machine], _SET_FILTER, _ALL_THREADS, ctypes.byref(program))
    if status:
        # Above 0 it is a thread that has a filter of its own.
        return f"the kernel refuses ({os.strerror(ctypes.get_errno()) if status < 0 else 'a thread differs'})"
    return None


def _has_accelerators() -> bool:
    """Whether JAX may run on more than CPUs: it has a plugin for it, and is not told to leave it."""
    if os.environ.get("JAX_PLATFORMS") == "cpu":
        return False
    plugins = importlib.metadata.entry_points(group="jax_plugins")
    return bool(plugins) or any(importlib.util.find_spec(name) for name in ("jax_plugins", "libtpu"))


def _filter(machine: str) -> bytes:
    """BPF that refuses, with EACCES, new sockets, connections, and the queue of requests that would make them."""
    number, *calls = _CALLS[machine]
    refused = (*calls, _IO_URING_SETUP)
    # (code, steps to skip if true, if false, value); the last two are "allow" and "refuse".
    steps = [(_LOAD, 0, 0, _MACHINE), (_EQUAL, 0, len(refused) + 3, number), (_LOAD, 0, 0, _NUMBER)]
    steps += [(_AT_LEAST, len(refused) + 1, 0, _OTHER_ABI)]
    steps += [(_EQUAL, len(refused) - place, 0, call) for place, call in enumerate(refused)]
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE | 13)]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
