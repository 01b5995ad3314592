"""The program that demo.sh saves and restores: three threads count primes, and it takes a while.

It draws a number at random when it starts and prints it again when it ends. Nobody can know that
number in advance, so a program that merely ran a second time prints another one.
"""

from __future__ import annotations

import secrets
import threading

CHUNKS = 12
CHUNK = 20_000

nonce = secrets.token_hex(8)
found: dict[int, int] = {}
output = threading.Lock()


def say(text: str) -> None:
    with output:
        print(text, flush=True)


def is_prime(number: int) -> bool:
    divisor = 2
    while divisor * divisor <= number:
        if number % divisor == 0:
            return False
        divisor += 1
    return number > 1


def count(worker: int) -> None:
    total = 0
    for chunk in range(CHUNKS):
        start = (chunk * 3 + worker) * CHUNK
        total += sum(map(is_prime, range(start, start + CHUNK)))
        say(f"worker {worker}: chunk {chunk + 1} of {CHUNKS}, {total} primes so far")
    found[worker] = total


say(f"nonce drawn: {nonce}")
threads = [threading.Thread(target=count, args=(n,), name=f"worker-{n}") for n in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
say(f"{sum(found.values())} primes below {3 * CHUNKS * CHUNK}")
say(f"nonce still: {nonce}")
