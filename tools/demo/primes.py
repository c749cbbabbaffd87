"""Computes and prints: the primes below 200,000."""
N = 200_000
sieve = bytearray([1]) * N
sieve[0:2] = b"\0\0"
for i in range(2, int(N**0.5) + 1):
    if sieve[i]:
        sieve[i * i::i] = bytes(len(range(i * i, N, i)))
primes = [i for i in range(N) if sieve[i]]
print(f"{len(primes)} primes below {N}, the largest is {primes[-1]}")
