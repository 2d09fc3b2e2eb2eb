"""What threads put into a mailbox comes out in its queues, in order, with few wake-ups of the loop."""

import asyncio
import threading

from tfcharlm.serving.mailbox import Mailbox


def test_nothing_is_lost_and_every_queue_keeps_its_order():
    async def check():
        loop, count = asyncio.get_running_loop(), 5_000
        mailbox, queues = Mailbox(loop), [asyncio.Queue() for _ in range(4)]

        def write(queue):
            for number in range(count):
                mailbox.put(queue, number)

        threads = [threading.Thread(target=write, args=[queue]) for queue in queues]
        for thread in threads:
            thread.start()
        for queue in queues:
            assert [await asyncio.wait_for(queue.get(), 60) for _ in range(count)] == list(range(count))
        for thread in threads:
            thread.join()
        assert all(queue.empty() for queue in queues)

    asyncio.run(check())


def test_the_loop_is_woken_once_for_what_comes_together(monkeypatch):
    async def check():
        loop, wakes = asyncio.get_running_loop(), []
        call = loop.call_soon_threadsafe
        monkeypatch.setattr(loop, "call_soon_threadsafe", lambda *arguments: wakes.append(1) or call(*arguments))
        mailbox, queue = Mailbox(loop), asyncio.Queue()
        for number in range(64):
            mailbox.put(queue, number)
        assert [await queue.get() for _ in range(64)] == list(range(64)) and len(wakes) == 1
        mailbox.put(queue, "later")
        assert await queue.get() == "later" and len(wakes) == 2

    asyncio.run(check())


def test_a_loop_that_is_closed_takes_nothing():
    loop = asyncio.new_event_loop()
    mailbox = Mailbox(loop)
    loop.close()
    mailbox.put(asyncio.Queue(), "for nobody")
