"""Which sockets of a SO_REUSEPORT group get new connections.

By default the kernel picks by a hash. A classic BPF program (socket(7), SO_ATTACH_REUSEPORT_CBPF; no privileges needed)
picks by the number of the socket instead: sockets are numbered in the order in which they began to listen, and when one
is closed the last one takes its number. A number that nobody has falls back to the hash.
"""

import array
import socket
import struct
from collections.abc import Sequence
from typing import Final

SO_ATTACH_REUSEPORT_CBPF: Final = 51
SO_DETACH_REUSEPORT_BPF: Final = 68
LOAD_WORD, MODULO, JUMP_IF_EQUAL, RETURN = 0x20, 0x94, 0x15, 0x06
"""BPF_LD|BPF_W|BPF_ABS, BPF_ALU|BPF_MOD|BPF_K, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K of linux/bpf_common.h."""
RECEIVE_HASH: Final = 0xFFFFF000 + 32
"""SKF_AD_OFF + SKF_AD_RXHASH of linux/filter.h: the hash of the packet's flow."""
LONGEST: Final = 4096
"""Instructions the kernel takes (BPF_MAXINSNS)."""
MOST: Final = (LONGEST - 3) // 2
"""Sockets that can be chosen from; of more, the others are left out."""


def steer(sock: socket.socket, to: Sequence[int]) -> None:
    """Have new connections to the group of `sock` go to those numbered `to` only. Raises OSError."""
    program = array.array("B", _program(to[:MOST]))
    address, size = program.buffer_info()
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, struct.pack("@HP", size // 8, address))


def let_go(sock: socket.socket) -> None:
    """Have new connections go to all of the group of `sock` again. Raises OSError where `steer` was not called."""
    sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0)


def _program(to: Sequence[int]) -> bytes:
    """Returns `to[hash % len(to)]`."""
    instructions = [(LOAD_WORD, 0, 0, RECEIVE_HASH), (MODULO, 0, 0, len(to))]
    for remainder, number in enumerate(to):
        instructions += [(JUMP_IF_EQUAL, 0, 1, remainder), (RETURN, 0, 0, number)]
    instructions.append((RETURN, 0, 0, to[0]))
    return b"".join(struct.pack("=HBBI", *each) for each in instructions)
