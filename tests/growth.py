"""How the cost of reading a text grows with its length: a fact of the code, where seconds are one of the machine."""

import time
from collections.abc import Callable

SQUARE = 12.0  # what `growth` stays under where the cost does not grow with the square


def cost(call: Callable[[], object], tries: int = 3) -> float:
    """Processor seconds of this thread, the least of several tries: what other programs do meanwhile does not count."""

    def once() -> float:
        began = time.thread_time()
        call()
        return time.thread_time() - began

    return min(once() for _ in range(tries))


def growth(read: Callable[[str], object], piece: str, length: int = 1024) -> float:
    """What four times the text costs, in costs of the text: 4 where it grows with the length, 16 with its square."""
    short, long = (piece * length)[:length], (piece * length * 4)[: length * 4]
    read(short)
    return cost(lambda: read(long)) / max(cost(lambda: read(short)), 1e-4)
