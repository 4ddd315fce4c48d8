"""Compares the times of failed logins with a known and with an unknown address: login_timing.py URL EMAIL NUMBER.

The order is random, because the machine's speed drifts. Welch's t compares the means. The overlap is the common share of
the two distributions, from histograms with equally filled bins: two samples of one distribution have about 95 %."""

import http.client
import json
import random
import statistics
import sys
import time
import urllib.parse

BINS = 20
KINDS = ("known", "unknown")

url, email, number = urllib.parse.urlsplit(sys.argv[1]), sys.argv[2], int(sys.argv[3])


def failed_login(address):
    """The duration in milliseconds, on an open connection."""
    connection = http.client.HTTPConnection(url.hostname, url.port)
    connection.connect()
    body = json.dumps({"email": address, "password": f"Wrong{random.random()}!"})
    begin = time.perf_counter()
    connection.request("POST", "/auth/login/json", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    response.read()
    duration = (time.perf_counter() - begin) * 1_000
    assert response.status == 401, f"{response.status}: set LOGIN_LIMIT_… to 0"
    connection.close()
    return duration


def overlap(one, other):
    edges = statistics.quantiles(one + other, n=BINS)
    bins = [[0] * BINS, [0] * BINS]
    for counts, durations in zip(bins, (one, other)):
        for duration in durations:
            counts[sum(edge < duration for edge in edges)] += 1 / len(durations)
    return sum(min(pair) for pair in zip(*bins))


attempts = [kind for kind in KINDS for _ in range(number // 2)]
random.shuffle(attempts)
durations = {kind: [] for kind in KINDS}
for n, kind in enumerate(attempts):
    address = email if kind == "known" else f"{n}{email}"
    durations[kind].append(failed_login(address))

for kind in KINDS:
    quartiles = statistics.quantiles(durations[kind], n=4)
    mean, deviation = statistics.mean(durations[kind]), statistics.stdev(durations[kind])
    print(f"{kind:8} {len(durations[kind])} logins, mean {mean:.2f} ms, standard deviation {deviation:.2f} ms, "
          f"quartiles {quartiles[0]:.2f} {quartiles[1]:.2f} {quartiles[2]:.2f} ms")

known, unknown = (durations[kind] for kind in KINDS)
error = (statistics.variance(known) / len(known) + statistics.variance(unknown) / len(unknown)) ** 0.5
t = (statistics.mean(known) - statistics.mean(unknown)) / error
# With a thousand values each, Student's distribution is the normal one.
p = 2 * (1 - statistics.NormalDist().cdf(abs(t)))
print(f"difference of the means {statistics.mean(known) - statistics.mean(unknown):+.2f} ms, Welch's t {t:+.2f}, p {p:.2f}; "
      f"overlap {overlap(known, unknown):.0%}")
