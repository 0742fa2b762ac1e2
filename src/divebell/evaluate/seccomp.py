"""A filter of system calls, for what namespaces and limits leave open to a process without any right."""

import platform
import struct

from divebell.errors import Unsupported

_MOST = 450  # Linux 5.17's last; a later call may open what nothing here closes, and C libraries do without it
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW*
_AF_UNIX = 1

# The numbers of x86-64 and AArch64 (asm/unistd_64.h, asm-generic/unistd.h); from 424 on they are the same.
_COMMON = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "pidfd_getfd": 438,
    "memfd_secret": 447,
}
_DENIED = {
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    # namespaces, in which a process gets rights over much of the kernel
    "unshare": (272, 97),
    "setns": (308, 268),
    # keys of the user outside
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # memory that no limit counts
    "memfd_create": (319, 279),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
    # the kernel's own text and inner workings
    "syslog": (103, 116),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "fanotify_init": (300, 262),
    "personality": (135, 92),
}
_CLONE, _CLONE3, _SOCKET, _SOCKETPAIR = (56, 220), (435, 435), (41, 198), (53, 199)
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_LOAD, _EQUAL, _ABOVE, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in the kernel's struct seccomp_data, little-endian
_ALLOW, _KILL, _NOT_PERMITTED, _NO_SUCH_CALL = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026


def program() -> bytes:
    """The filter as instructions of classic BPF, for this machine. Raises Unsupported."""
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise Unsupported("generated code on a processor of", machine, list(_ARCHITECTURES))
    column = list(_ARCHITECTURES).index(machine)
    denied = [*_COMMON.values(), *(numbers[column] for numbers in _DENIED.values())]
    return b"".join(
        [
            _load(_ARCHITECTURE),
            _if(_EQUAL, _ARCHITECTURES[machine], skip=1),
            _return(_KILL),
            _load(_NUMBER),
            *_answer(_ABOVE, _MOST, _NO_SUCH_CALL),
            # Its flags lie in memory, where no filter sees them. Without it, C libraries call clone.
            *_answer(_EQUAL, _CLONE3[column], _NO_SUCH_CALL),
            *(one for number in denied for one in _answer(_EQUAL, number, _NOT_PERMITTED)),
            *_unless(_SOCKET[column], _EQUAL, _AF_UNIX, _ALLOW, _NOT_PERMITTED),
            *_unless(_SOCKETPAIR[column], _EQUAL, _AF_UNIX, _ALLOW, _NOT_PERMITTED),
            *_unless(_CLONE[column], _ANY_BIT, _NEW_NAMESPACES, _NOT_PERMITTED, _ALLOW),
            _return(_ALLOW),
        ]
    )


def _instruction(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", code, then, otherwise, value)


def _load(offset: int) -> bytes:
    return _instruction(_LOAD, offset)


def _if(test: int, value: int, skip: int) -> bytes:
    return _instruction(test, value, then=skip)


def _return(verdict: int) -> bytes:
    return _instruction(_RETURN, verdict)


def _answer(test: int, value: int, verdict: int) -> list[bytes]:
    return [_instruction(test, value, otherwise=1), _return(verdict)]


def _unless(number: int, test: int, value: int, then: int, otherwise: int) -> list[bytes]:
    """For one call, a verdict by its first argument."""
    return [
        _instruction(_EQUAL, number, otherwise=4),
        _load(_FIRST_ARGUMENT),
        _instruction(test, value, otherwise=1),
        _return(then),
        _return(otherwise),
    ]
