"""The product page's three Python samples, unchanged except for endpoint, token, pictures and fewer steps."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared.buckets import FolderBucket
from tests import pictures, sdk, zygotes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PREPARED = """
import json
import sys
import time
ENDPOINT, TOKEN = sys.argv[1:]
"""

CHECK = """
import json
from eas_prediction import QueueClient

# Create an input queue object to receive input data.
input_queue = QueueClient(ENDPOINT, 'photog_check')
input_queue.set_token(TOKEN)
input_queue.init()

datas = json.dumps(
    {
       'request_id'    : 12345,
       'images'        : ["0.jpg", "1.jpg"], # urls, a list
       'configure'     : {
            'face_reconize' : True, # Judge whether all pictures are of a person
        }
    }
)
index, request_id = input_queue.put(f'{datas}')
print(index, request_id)

# Query the details of the input queue.
attrs = input_queue.attributes()
print(attrs)
"""

TRAIN = """
import json
from eas_prediction import QueueClient

# Create an input queue object to receive input data.
input_queue = QueueClient(ENDPOINT, 'photog_train_pmml')
input_queue.set_token(TOKEN)
input_queue.init()

datas = json.dumps(
    {
        'request_id'    : 12345,
        'images'        : ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg"], # urls
        'configure'     : {
            'user_id'   : "zhoumo", # user id
            'max_train_steps': 10,
            'val_save_checkpointing_steps': 10,
        }
    }
)
index, request_id = input_queue.put(f'{datas}')
print(index, request_id)

# Query the details of the input queue.
attrs = input_queue.attributes()
print(attrs)
"""

GENERATE = """
import json
from eas_prediction import QueueClient

# Create an input queue object to receive input data.
input_queue = QueueClient(ENDPOINT, 'photog_pre_pmml')
input_queue.set_token(TOKEN)
input_queue.init()

datas = json.dumps({
    'request_id'    : 12345,
    'template_image': "t.png",
    'configure'     : {
        'user_id'   : "zhoumo", # threshold to get tags.
        'first_diffusion_steps': 4,
        'second_diffusion_steps': 4,
    }
})
index, request_id = input_queue.put(f'{datas}')
print(index, request_id)

# Query the details of the input queue.
attrs = input_queue.attributes()
print(attrs)

# Query a specific request based on the request ID.
print(input_queue.get(request_id, auto_delete=False)[0].data.decode('utf-8'))
"""

SINK = """
# Create an output queue object to subscribe to the processing results in the output queue.
sink_queue = QueueClient(ENDPOINT, '%s/sink')
sink_queue.set_token(TOKEN)
sink_queue.init()

# the page: while code is 502 the request is running
while True:
    answer = sink_queue.get(request_id, auto_delete=True)[0].data.decode('utf-8')
    if json.loads(answer)['code'] != '502':
        break

answer = json.loads(answer)
assert answer['request_id'] == '12345' and answer['message'] == 'success' and answer['code'] == 'OK', answer
data = answer['data']
assert isinstance(data['cost_time'], float)
assert attrs['stream.maxPayloadBytes'] == '20971520' and attrs['meta.state'] == 'Normal' and index == '1'
assert sink_queue.get(request_id, timeout='0s') == [], 'auto_delete'
"""

ANSWERS = {
    "photog_check": """
assert data['request_id'] == 12345 and data['configure'] == {'face_reconize': True}
assert [(one['code'], one['message']) for one in data['check_results']] == [(1, 'success')] * 2, data
""",
    "photog_train_pmml": "assert data['user_id'] == 'zhoumo'",
    "photog_pre_pmml": """
import base64
assert data['user_id'] == 'zhoumo' and base64.b64decode(data['image']).startswith(b'\\x89PNG')
""",
}


def test_the_three_samples_of_the_page_run_against_the_real_functions(tmp_path, tmp_path_factory):
    python = sdk.installed(tmp_path_factory.mktemp("sdk") / "venv")
    server = sdk.Server(tmp_path)
    server.start()
    bucket = FolderBucket(server.bucket)
    for index, photo in enumerate(pictures.variations(pictures.hopper(), 6)):
        bucket.put(f"{index}.jpg", pictures.jpeg(photo))
    bucket.put("t.png", pictures.png(pictures.astronaut()[:300]))
    up = [sys.executable, "-m", "shared.cli", "up", bucket.address]
    working = zygotes.start(up, zygotes.HEAVY, cwd=sdk.ROOT, env=os.environ | sdk.QUICK)
    try:
        for service, sample in zip(ANSWERS, (CHECK, TRAIN, GENERATE), strict=True):
            said = run(python, PREPARED + sample + SINK % service + ANSWERS[service], server.endpoint)
            assert "'meta.header.priority': 'X-EAS-QueueService-Priority'" in said
    finally:
        working.send_signal(signal.SIGTERM)
        working.wait(150)
        assert server.stop() == 0


def run(python: Path, code: str, endpoint: str) -> str:
    """Return what the sample prints."""
    command = [str(python), "-c", code, endpoint, "secret"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stderr
    return done.stdout
