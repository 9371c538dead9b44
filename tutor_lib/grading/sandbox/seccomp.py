"""System calls that no notebook needs, and that get round the limits: refused by Linux itself.

Shared memory and queues of System V and POSIX hold memory that belongs to no process; keyrings,
where the owner's Kerberos tickets may be, are in no namespace; the rest is where Linux has had
most of its faults. Everything else is left to the namespaces.
"""

import ctypes
import os
import struct

# Name: its number on x86_64, on aarch64.
REFUSED = {
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "perf_event_open": (298, 241),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
}
# Linux's own name for the machine (AUDIT_ARCH), and the column above.
MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}

_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001  # the latter with EPERM
_NUMBER, _MACHINE = 0, 4  # offsets in what the filter is shown
_X32 = 0x40000000  # from here on, the same calls have other numbers
_SET_SECCOMP, _FILTER = 22, 2


def refuse() -> None:
    """For this process and all it starts. Needs no_new_privs; other machines get no filter.

    Raises OSError.
    """
    if (machine := os.uname().machine) not in MACHINES:
        return
    program = _program(*MACHINES[machine])
    steps = ctypes.create_string_buffer(program, len(program))
    told = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(steps))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_SET_SECCOMP, ctypes.c_ulong(_FILTER), told, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp is refused")


def _program(machine: int, column: int) -> bytes:
    """Each step: what to do, how many steps to skip if true, if false, and a number."""
    refuse = (_RETURN, 0, 0, _REFUSE)
    steps = [
        (_LOAD, 0, 0, _MACHINE), (_IF_EQUAL, 1, 0, machine), refuse,
        (_LOAD, 0, 0, _NUMBER), (_IF_AT_LEAST, 0, 1, _X32), refuse,
    ]  # fmt: skip
    for numbers in REFUSED.values():
        steps += [(_IF_EQUAL, 0, 1, numbers[column]), refuse]
    steps.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("HBBI", *step) for step in steps)
