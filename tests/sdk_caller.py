"""Runs inside the environment of the real SDK, never inside ours: `python sdk_caller.py ENDPOINT COUNT [patient]`.

One thread puts COUNT requests, the main thread watches the sink and commits each answer, as a shop would. With
`patient`, a put that fails is repeated until the server is back. Prints one JSON object: the uuids of the accepted
puts by request_id, what came out of the sink in order, and the commits that were confirmed.
"""

import json
import logging
import sys
import threading
import time
from functools import partial

from eas_prediction import QueueClient
from eas_prediction.exception import PredictException

WINDOW = 20


def queue(endpoint, name):
    client = QueueClient(endpoint, name)
    client.set_token("secret")
    client.init()
    client.set_logger(logging.getLogger("quiet"))
    return client


def until_done(call, patient):
    while True:
        try:
            return call()
        except PredictException:
            if not patient:
                raise
            time.sleep(0.2)


def main(endpoint, count, patient):
    accepted, failed = {}, []

    def send():
        source = queue(endpoint, "photog_check")
        for number in range(count):
            identity = f"r{number}"
            body = json.dumps({"request_id": identity})
            while True:
                try:
                    accepted[identity] = source.put(body, {"number": str(number)})[1]
                    break
                except PredictException:
                    failed.append(identity)
                    if not patient:
                        raise
                    time.sleep(0.2)

    sender = threading.Thread(target=send)
    sender.start()
    sink = queue(endpoint, "photog_check/sink")
    seen, committed, answered = [], [], set()
    watcher = sink.watch(0, WINDOW, auto_commit=False)
    for frame in watcher.run():
        answer = json.loads(frame.data)
        seen.append([frame.index, frame.tags["requestId"], answer["request_id"], answer["code"], time.time()])
        until_done(partial(sink.commit, frame.index), patient)
        committed.append(frame.index)
        answered.add(answer["request_id"])
        sys.stderr.write(f"answered {len(answered)}\n")
        if len(answered) == count and not sender.is_alive() and set(accepted.values()) <= {one[1] for one in seen}:
            break
    watcher.close()
    sender.join()
    json.dump({"accepted": accepted, "failed": failed, "seen": seen, "committed": committed}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), "patient" in sys.argv[3:])
