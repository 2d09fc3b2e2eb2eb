"""`tfcharlm serve` as a process, and what bad clients send to it."""

import os
import re
import subprocess
import sys
import threading
import urllib.request

PATIENCE = 120
KEY = "a key of this test"


class Server:
    """A process of the command, which has said that it answers."""

    def __init__(self, *arguments, **environment):
        command = [sys.executable, "-c", "from tfcharlm_command import main; main()", "serve", *map(str, arguments)]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=os.environ | environment, start_new_session=True
        )
        self.lines, self.url = [], None
        for line in self.process.stderr:
            self.lines.append(line)
            found = re.search(r"at (http://\S+);", line)
            if found:
                self.url = found[1]
                break
        self._reader = threading.Thread(target=lambda: self.lines.extend(self.process.stderr), daemon=True)
        self._reader.start()

    def kill(self):
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stderr.close()

    @property
    def address(self):
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)

    def metric(self, name):
        request = urllib.request.Request(f"{self.url}/metrics", headers={"Authorization": f"Bearer {KEY}"})
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return float(re.search(rf"(?m)^{name}(?:{{.*}})? (\S+)", response.read().decode())[1])


GARBAGE = {
    "nothing": b"",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 9,
    "headers without end": b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000,
    "a header of a megabyte": b"GET / HTTP/1.1\r\nX: " + b"y" * (1 << 20),
    "a wrong length": b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n{}",
    "a huge length": b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 104857600\r\n\r\n{",
    "two lengths": b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
}
