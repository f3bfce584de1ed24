"""How many there are of something, in words: for log lines, for answers to clients and for ctl."""


def count(number: int, noun: str) -> str:
    """`1 session`, `2 sessions`, `2,000 sessions`; `noun` is one that takes an s."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
