"""A load generator in a process of its own: so many requests over so many connections that stay open.

python load.py ADDRESS PATH BODY CONTENT_TYPE ACCEPT CONNECTIONS REQUESTS prints, as JSON, the latency of each answer in
ms, how many requests had none, the seconds that all took, and the digests of the bodies.
"""

import hashlib
import json
import sys
import threading
import time
from http.client import HTTPConnection
from pathlib import Path


def main() -> None:
    """Does so."""
    address, path, body_file, content_type, accept, connections, requests = sys.argv[1:]
    body = Path(body_file).read_bytes()
    headers = {"Content-Type": content_type, "Accept": accept}
    left = list(range(int(requests)))
    latencies_ms: list[float] = []
    digests: set[str] = set()

    def client() -> None:
        connection = HTTPConnection(address, timeout=60)
        while left:
            try:
                left.pop()
            except IndexError:
                break
            since = time.perf_counter()
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status == 200:  # a refusal is quick, and no answer
                latencies_ms.append(1000 * (time.perf_counter() - since))
            digests.add(hashlib.sha256(content).hexdigest())
        connection.close()

    threads = [threading.Thread(target=client) for _ in range(int(connections))]
    since = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - since
    failed = int(requests) - len(latencies_ms)
    answers = sorted(digests)[:3]
    json.dump({"latencies_ms": latencies_ms, "failed": failed, "seconds": seconds, "answers": answers}, sys.stdout)


if __name__ == "__main__":
    main()
