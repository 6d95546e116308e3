"""Chaos with a seed: real worker processes on a folder, on S3 and on S3 with SQS, SNS and a webhook, whatever breaks.

    python -m tests.scenario.chaos --kind folder|s3|cloud --seeds 1-200 --jobs 4

| file | what it is |
|---|---|
| `labour.py` | the function that the workers run: every way in which a request can end |
| `schedule.py` | what one seed means: requests, deliveries, blows, weather |
| `zygote.py`, `crew.py` | worker processes: forked by the one, started, hit and restarted by the other |
| `breakpoints.py`, `clock.py` | what is done to a worker from inside: death at one call, a stepped clock |
| `proxy.py`, `weather.py` | between the workers and moto: what becomes of each call |
| `disk.py` | a small disk that can be full or read-only |
| `sites.py` | the three places that the workers serve, as sender, operator and consumer see them |
| `watch.py` | answers as they appear: none ever changes |
| `inventory.py`, `judgment.py` | what lies in the bucket at the end, and what must hold of it |
| `run.py`, `__main__.py` | one schedule from its seed to its verdict; a campaign of many and its tally |

A seed replays: who does what, which call of which worker fails and how is a function of the seed and of counts (the
answers so far, the nth call for a key, the nth creation of a claim), not of wall time. What the kernel does with the
processes in between is its own; the trace of a run lies beside its logs.
"""
