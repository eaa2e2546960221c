"""The session without a server: consumes rows from a file, prints the milliseconds of each.

`session.py ROWS.json SECONDS THREADS` answers the rows again and again on so many threads.
"""

import json
import sys
import threading
import time
from pathlib import Path

import model


def main() -> None:
    """Answer rows until the time is up, and print the latencies and the seconds it took."""
    rows = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    seconds, threads = float(sys.argv[2]), int(sys.argv[3])
    answer = model.load()
    for row in rows[:50]:
        answer(row)
    took_ms: list[list[float]] = [[] for _ in range(threads)]
    began = time.perf_counter()

    def work(number: int) -> None:
        place, mine = number, took_ms[number]
        while (start := time.perf_counter()) < began + seconds:
            answer(rows[place % len(rows)])
            mine.append((time.perf_counter() - start) * 1000)
            place += threads

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    cpu_s = time.process_time()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    told = {
        "seconds": time.perf_counter() - began,
        "cpu_s": time.process_time() - cpu_s,
        "ms": [one for mine in took_ms for one in mine],
    }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
