"""Seeded damage to bytes, as a line, a disk or an attacker does it."""

from __future__ import annotations

import random

NASTY = (
    *(
        b"\0",
        b"\xff" * 8,
        b"\x80" * 9,
        b"\x7f\xff\xff\xff",
        b"[" * 300,
        b"{" * 300,
        b'"\\ud800"',
        b'"\\u0000"',
        b"1e999",
    ),
    *(
        b"9" * 400,
        b"-1",
        b"null",
        b"NaN",
        b"*a",
        b"&a",
        b"!!python/object:x",
        b"\r\n",
        b"\xf0\x9f\x92\xa9",
        b",,",
        b"()",
    ),
)


def mutated(data: bytes, seed: int) -> bytes:
    """The bytes with one to eight changes."""
    chance = random.Random(seed)
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        at = chance.randrange(len(out) + 1)
        length = chance.choice((1, 1, 2, 4, 16, 64))
        match chance.randrange(7):
            case 0:
                out[at : at + 1] = bytes([chance.randrange(256)])
            case 1 if at < len(out):
                out[at] ^= 1 << chance.randrange(8)
            case 2:
                out[at : at + length] = b""
            case 3:
                out[at:at] = chance.choice(NASTY)
            case 4:
                out[at : at + length] = chance.choice(NASTY)
            case 5:
                out[at:at] = out[at : at + length] * chance.choice((1, 2, 50))
            case _:
                del out[at : None if chance.random() < 0.3 else at + 1]
    return bytes(out)
