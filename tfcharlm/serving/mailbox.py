"""How pieces of text come from the thread of an engine to the coroutines that wait for them."""

import asyncio
import collections
from typing import Any


class Mailbox:
    """Hands items from other threads to queues of an event loop, all that are there at once.

    To wake a loop takes a system call, after which two threads compete for Python's lock. A block of 64 texts would
    wake it 64 times.

    Args:
        loop: the loop in which the queues are read.

    Example:

    >>> import asyncio
    >>> from tfcharlm.serving.mailbox import Mailbox
    >>> async def main():
    ...     queue = asyncio.Queue()
    ...     mailbox = Mailbox(asyncio.get_running_loop())
    ...     await asyncio.to_thread(lambda: [mailbox.put(queue, item) for item in "ab"])
    ...     return await queue.get() + await queue.get()
    >>> asyncio.run(main())
    'ab'
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._items: collections.deque[tuple[asyncio.Queue[Any], Any]] = collections.deque()
        self._is_coming = False

    def put(self, queue: asyncio.Queue[Any], item: Any) -> None:
        """Puts an item into a queue without a limit, soon. Any thread may call it. A closed loop takes nothing."""
        self._items.append((queue, item))
        # The loop is closed if the server was stopped meanwhile.
        if not self._is_coming and not self._loop.is_closed():
            self._is_coming = True
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        # First, so that an item that comes after the last look calls for another one.
        self._is_coming = False
        while self._items:
            queue, item = self._items.popleft()
            queue.put_nowait(item)
