"""AWS as the tests see it: moto's server in this process, with plain boto3 beside the code under test."""

import itertools
import json
import logging
import os
from dataclasses import dataclass
from functools import cache

import boto3
from moto.server import ThreadedMotoServer

REGION = "eu-central-1"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}
_numbers = itertools.count(1)


@dataclass
class Cloud:
    """One moto server. Names are never used twice, so tests need no cleaning up."""

    endpoint: str

    def client(self, service: str):
        return _client(service, self.endpoint)

    def bucket(self) -> str:
        name = f"bucket-{next(_numbers)}"
        self.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        return name

    def queue(self, dead_letters: str | None = None, receives: int = 3, visibility: int = 30) -> str:
        attributes = {"VisibilityTimeout": str(visibility)}
        if dead_letters is not None:
            policy = {"deadLetterTargetArn": self.arn(dead_letters), "maxReceiveCount": receives}
            attributes["RedrivePolicy"] = json.dumps(policy)
        return self.client("sqs").create_queue(QueueName=f"queue-{next(_numbers)}", Attributes=attributes)["QueueUrl"]

    def arn(self, queue: str) -> str:
        found = self.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        return found["Attributes"]["QueueArn"]

    def topic(self) -> tuple[str, str]:
        """A topic's ARN, and the URL of a queue that is subscribed to it."""
        arn = self.client("sns").create_topic(Name=f"topic-{next(_numbers)}")["TopicArn"]
        queue = self.queue()
        self.client("sns").subscribe(TopicArn=arn, Protocol="sqs", Endpoint=self.arn(queue))
        return arn, queue

    def route(self, bucket: str, function: str, queue: str) -> None:
        """Bucket to EventBridge, whose rule sends the manifests of a function to the queue."""
        self.client("s3").put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
        )
        rule, events = f"rule-{next(_numbers)}", self.client("events")
        keys = [{"wildcard": f"requests/{function}/*{suffix}"} for suffix in (".json", ".JSON")]
        detail = {"bucket": {"name": [bucket]}, "object": {"key": keys, "size": [{"numeric": [">", 0]}]}}
        pattern = {"source": ["aws.s3"], "detail-type": ["Object Created"], "detail": detail}
        events.put_rule(Name=rule, EventPattern=json.dumps(pattern))
        events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": self.arn(queue)}])

    def messages(self, queue: str) -> list[str]:
        """The bodies of what waits in a queue, taken out of it."""
        bodies, sqs = [], self.client("sqs")
        while got := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=0).get("Messages"):
            for one in got:
                bodies.append(one["Body"])
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=one["ReceiptHandle"])
        return bodies

    def counts(self, queue: str) -> tuple[int, int]:
        """How many messages are visible, and how many are held or delayed."""
        found = self.client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
        hidden = int(found["ApproximateNumberOfMessagesNotVisible"]) + int(found["ApproximateNumberOfMessagesDelayed"])
        return int(found["ApproximateNumberOfMessages"]), hidden

    def environment(self, queue: str | None = None, **more: str) -> dict[str, str]:
        """What a worker process needs to work here."""
        settings = {"PHOTOG_S3__ENDPOINT": self.endpoint, "PHOTOG_S3__REGION": REGION} | CREDENTIALS
        settings |= {"PHOTOG_NOTIFY__SNS_ENDPOINT": self.endpoint}
        if queue is not None:
            settings |= {"PHOTOG_SQS__QUEUE": queue, "PHOTOG_SQS__ENDPOINT": self.endpoint}
            settings |= {"PHOTOG_SQS__WAIT_SECONDS": "1"}
        return os.environ | settings | more


@cache
def _client(service: str, endpoint: str):
    return boto3.client(service, endpoint_url=endpoint, region_name=REGION)


def start() -> tuple[ThreadedMotoServer, Cloud]:
    """A server on a free port; `stop()` it."""
    os.environ.update(CREDENTIALS)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line for every call of every test
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    return server, Cloud(f"http://{host}:{port}")
