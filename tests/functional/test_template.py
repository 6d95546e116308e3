"""template.yaml and its parts: linted, transformed, rules deployed without a cloud, rights checked one by one."""

import copy
import json
from collections.abc import Iterator

import boto3
import pytest
from cfnlint.decode import cfn_yaml
from moto import mock_aws
from moto.events.models import EventPattern
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from serve.settings import ServeSettings
from shared.events import parse
from tests.deployment import FUNCTIONS, ROOT, is_setting, understood

REGION = "eu-central-1"
PARTS = ("deploy/aws/function.yaml", "deploy/aws/batch.yaml", "deploy/aws/serve.yaml")
TEMPLATES = ("template.yaml", *PARTS)
BUCKET = "portraits"


def template(path: str) -> dict:
    return json.loads(json.dumps(cfn_yaml.load(str(ROOT / path))))


LOADED = {path: template(path) for path in TEMPLATES}
MAIN, FUNCTION, BATCH, SERVE = LOADED.values()


def resources(*kinds: str) -> Iterator[tuple[str, dict]]:
    for path, whole in LOADED.items():
        for name, one in whole["Resources"].items():
            if not kinds or one["Type"] in kinds:
                yield f"{path}: {name}", one["Properties"]


def filled(value: object, given: dict[str, str]) -> object:
    """Replace Ref and Sub of given names, so that a pattern can be matched."""
    if isinstance(value, dict):
        if set(value) == {"Ref"}:
            return given[value["Ref"]]
        if set(value) == {"Fn::Sub"}:
            text = value["Fn::Sub"]
            for name, one in given.items():
                text = text.replace(f"${{{name}}}", one)
            return text
        return {key: filled(one, given) for key, one in value.items()}
    return [filled(one, given) for one in value] if isinstance(value, list) else value


def statements() -> Iterator[tuple[str, dict]]:
    """Yield every statement that allows a role something."""
    for name, properties in resources("AWS::IAM::Role", "AWS::IAM::ManagedPolicy"):
        policies = [one["PolicyDocument"] for one in properties.get("Policies", [])]
        for policy in [*policies, *([properties["PolicyDocument"]] if "PolicyDocument" in properties else [])]:
            for one in policy["Statement"]:
                yield name, one["Fn::If"][1] if "Fn::If" in one else one


def listed(value: object) -> list:
    return value if isinstance(value, list) else [value]


@pytest.mark.slow
def test_cfn_lint_has_nothing_to_say():
    from cfnlint.api import ManualArgs, lint_file  # reads many schemas

    for path in TEMPLATES:
        found = lint_file(ROOT / path, ManualArgs(regions=[REGION, "us-east-1"]))
        assert [str(one) for one in found] == []


def test_the_sam_transform_makes_a_stack_of_each_part(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    made = Translator({}, Parser()).translate(copy.deepcopy(MAIN), {})
    stacks = {name: one for name, one in made["Resources"].items() if one["Type"] == "AWS::CloudFormation::Stack"}
    assert set(stacks) == {"Check", "Train", "Generate", "TrainJobs", "Serve"}
    assert not [one for one in made["Resources"].values() if one["Type"].startswith("AWS::Serverless")]


def test_each_part_is_given_the_parameters_that_it_has_and_no_other():
    for name, one in MAIN["Resources"].items():
        if one["Type"] == "AWS::Serverless::Application":
            part = LOADED[one["Properties"]["Location"]]
            assert set(one["Properties"]["Parameters"]) == set(part["Parameters"]), name


def test_what_is_asked_of_a_part_is_among_its_outputs():
    text = json.dumps(MAIN)
    for part, made in {"Check": FUNCTION, "Train": FUNCTION, "Generate": FUNCTION, "Serve": SERVE}.items():
        for asked in text.split(f'"{part}", "Outputs.')[1:]:
            assert asked.split('"')[0] in made["Outputs"]


def test_every_parameter_is_used():
    for path, whole in LOADED.items():
        text = json.dumps({key: whole[key] for key in ("Resources", "Conditions", "Rules") if key in whole})
        for name in whole["Parameters"]:
            assert f'"Ref": "{name}"' in text or f"${{{name}}}" in text, f"{path}: {name}"


# --- which object goes where ---------------------------------------------------------------------------------


def given(function: str) -> dict[str, str]:
    stand_ins = dict.fromkeys(FUNCTION["Parameters"], "x")
    return (
        stand_ins
        | {"Name": "photog", "Function": function, "Compute": "gpu", "Bucket": BUCKET}
        | {"MinTasks": "1", "MaxTasks": "5"}
    )


@pytest.fixture
def cloud(monkeypatch) -> Iterator[dict[str, str]]:
    """Make a bucket, and each function's rule and queues as CloudFormation does; yield the queues' URLs."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    with mock_aws():
        s3, stacks, queues = boto3.client("s3"), boto3.client("cloudformation"), dict[str, str]()
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        event_bridge = MAIN["Resources"]["Bucket"]["Properties"]["NotificationConfiguration"]
        assert event_bridge == {"EventBridgeConfiguration": {"EventBridgeEnabled": True}}
        s3.put_bucket_notification_configuration(
            Bucket=BUCKET, NotificationConfiguration={"EventBridgeConfiguration": {}}
        )
        routing = {key: FUNCTION[key] for key in ("AWSTemplateFormatVersion", "Parameters", "Conditions")}
        names = ("RequestRule", "Queue", "DeadLetters")  # moto checks no queue policy, makes no alarms and no scaling
        routing |= {"Resources": {name: FUNCTION["Resources"][name] for name in names}}
        routing |= {"Outputs": {name: FUNCTION["Outputs"][name] for name in ("Queue", "DeadLetters")}}
        for function in FUNCTIONS:
            parameters = [{"ParameterKey": key, "ParameterValue": value} for key, value in given(function).items()]
            stacks.create_stack(StackName=function, TemplateBody=json.dumps(routing), Parameters=parameters)
            outputs = stacks.describe_stacks(StackName=function)["Stacks"][0]["Outputs"]
            queues |= {f"{function} {one['OutputKey']}": one["OutputValue"] for one in outputs}
        yield queues


def messages(url: str) -> list[dict]:
    got = (
        boto3.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0).get("Messages", [])
    )
    return [json.loads(one["Body"]) for one in got]


def test_a_manifest_goes_to_its_own_queue_and_nothing_else_goes_anywhere(cloud):
    s3 = boto3.client("s3")
    for key in (
        "requests/check/x.json",
        "requests/train/deep/er/x y+1.json",
        "requests/generate/x.json",
        "requests/check/x.txt",
        "requests/checks/x.json",
        "requests/x.json",
        "results/check/x/result.json",
        "claims/train/x/000001.json",
        "notifications/generate/x.json",
        "photos/requests/check/x.json",
    ):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"{}")
    s3.put_object(Bucket=BUCKET, Key="requests/check/empty.json", Body=b"")
    got = {
        function: [one.key for event in messages(cloud[f"{function} Queue"]) for one in parse(event)]
        for function in FUNCTIONS
    }
    assert got == {
        "check": ["requests/check/x.json"],
        "train": ["requests/train/deep/er/x y+1.json"],
        "generate": ["requests/generate/x.json"],
    }


def test_another_buckets_events_are_not_ours(cloud):
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="strangers", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_notification_configuration(
        Bucket="strangers", NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    s3.put_object(Bucket="strangers", Key="requests/check/x.json", Body=b"{}")
    assert messages(cloud["check Queue"]) == []


def test_what_nobody_can_answer_ends_in_the_dead_letters(cloud):
    sqs = boto3.client("sqs")
    boto3.client("s3").put_object(Bucket=BUCKET, Key="requests/check/x.json", Body=b"{}")
    attributes = sqs.get_queue_attributes(QueueUrl=cloud["check Queue"], AttributeNames=["All"])["Attributes"]
    for _ in range(json.loads(attributes["RedrivePolicy"])["maxReceiveCount"] + 1):
        for one in sqs.receive_message(QueueUrl=cloud["check Queue"], WaitTimeSeconds=0).get("Messages", []):
            sqs.change_message_visibility(
                QueueUrl=cloud["check Queue"], ReceiptHandle=one["ReceiptHandle"], VisibilityTimeout=0
            )
    assert [one.key for event in messages(cloud["check DeadLetters"]) for one in parse(event)] == [
        "requests/check/x.json"
    ]


@pytest.mark.parametrize(
    ("rule", "function"), [("function", "check"), ("function", "train"), ("function", "generate"), ("batch", "train")]
)
def test_the_rules_know_amazons_own_event(rule, function):
    whole = {"function": FUNCTION, "batch": BATCH}[rule]
    pattern = filled(whole["Resources"]["RequestRule"]["Properties"]["EventPattern"], given(function))
    matches = EventPattern.load(json.dumps(pattern)).matches_event
    event = json.loads((ROOT / "events/s3-eventbridge.json").read_text())
    assert matches(event) == (function == "check"), "the sample is a request for check"
    event["detail"]["object"]["key"] = f"requests/{function}/x.json"
    assert matches(event)
    for change in (
        {"detail-type": "Object Deleted"},
        {"source": "aws.ec2"},
        {"detail": event["detail"] | {"bucket": {"name": "strangers"}}},
        {"detail": event["detail"] | {"object": {"key": f"results/{function}/x/result.json", "size": 10}}},
        {"detail": event["detail"] | {"object": {"key": f"requests/{function}/x.json", "size": 0}}},
    ):
        assert not matches(event | change), change


def test_a_job_that_crashed_becomes_an_event_that_the_dead_letters_consumer_reads():
    rule = BATCH["Resources"]["FailureRule"]["Properties"]
    pattern = EventPattern.load(json.dumps(filled(rule["EventPattern"], {"JobQueue": "arn:queue"})))
    failed = {"source": "aws.batch", "detail-type": "Batch Job State Change"}
    assert pattern.matches_event(failed | {"detail": {"status": "FAILED", "jobQueue": "arn:queue"}})
    assert not pattern.matches_event(failed | {"detail": {"status": "SUCCEEDED", "jobQueue": "arn:queue"}})
    transformer = rule["Targets"][0]["InputTransformer"]
    text = filled(transformer["InputTemplate"], {"Bucket": BUCKET})
    for name in transformer["InputPathsMap"]:
        text = text.replace(f"<{name}>", json.dumps("requests/train/x.json" if name == "key" else "1"))
    assert [(one.bucket, one.key) for one in parse(json.loads(text))] == [(BUCKET, "requests/train/x.json")]


# --- nothing is lost, nothing is open ------------------------------------------------------------------------


def test_every_queue_is_encrypted_has_a_policy_and_dead_letters_or_is_such_a_queue():
    queues = {
        name: one["Properties"] for name, one in FUNCTION["Resources"].items() if one["Type"] == "AWS::SQS::Queue"
    }
    policies = [one["Properties"] for one in FUNCTION["Resources"].values() if one["Type"] == "AWS::SQS::QueuePolicy"]
    covered = {queue["Ref"] for policy in policies for queue in policy["Queues"]}
    targets = {
        one["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
        for one in queues.values()
        if "RedrivePolicy" in one
    }
    assert covered == set(queues)
    for name, queue in queues.items():
        assert queue["SqsManagedSseEnabled"] is True
        assert "RedrivePolicy" in queue or name in targets
    for target in targets:
        assert queues[target]["MessageRetentionPeriod"] == 1_209_600
        consumers = [one for one in resources("AWS::ECS::TaskDefinition") if {"Ref": target} in _values(one[1])]
        assert consumers, f"somebody reads {target}"


def test_only_this_stacks_rules_may_send():
    policy = FUNCTION["Resources"]["QueuePolicy"]["Properties"]["PolicyDocument"]["Statement"][0]
    allowed = policy["Condition"]["ArnLike"]["aws:SourceArn"]["Fn::Sub"].rpartition("rule/")[2].removesuffix("*")
    names = [one["Name"]["Fn::Sub"] for _, one in resources("AWS::Events::Rule") if "Name" in one]
    assert len(names) == 4
    for name in names:
        assert name.replace("-train-", "-${Function}-").startswith(allowed)


def test_no_role_may_touch_everything():
    assert len(list(statements())) > 5
    for name, one in statements():
        assert one["Effect"] == "Allow"
        assert "*" not in listed(one["Action"]), name
        assert not [action for action in listed(one["Action"]) if action.endswith(":*")], name
        if "*" in listed(one["Resource"]):
            assert one["Action"] == "ecr:GetAuthorizationToken", "the one for which Amazon demands it"


def test_a_function_writes_its_own_keys_and_check_keeps_nobody():
    policy = FUNCTION["Resources"]["BucketAccess"]["Properties"]["PolicyDocument"]["Statement"]
    changing = [one for one in policy if {"s3:PutObject", "s3:DeleteObject"} & set(listed(one["Action"]))]
    assert len(changing) == 2
    for one in changing:
        for resource in one["Resource"]:
            if "Fn::If" in resource:
                condition, resource, otherwise = resource["Fn::If"]
                assert (condition, otherwise) == ("KeepsPeople", {"Ref": "AWS::NoValue"})
                assert resource["Fn::Sub"].endswith("/users/*")
            else:
                own = ("/${Function}/*", "/usage/*/${Function}.*", "/usage/*/slots/${Function}-*", "/probes/*")
                assert resource["Fn::Sub"].endswith(own)
    functions = [one["Fn::Equals"][1] for one in FUNCTION["Conditions"]["KeepsPeople"]["Fn::Or"]]
    assert functions == ["train", "generate"]
    served = SERVE["Resources"]["TaskRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    prunes = MAIN["Resources"]["PruneRole"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    others = [one for _, one in statements() if one not in [*policy, *served, *prunes]]
    others = [one for one in others if {"s3:PutObject", "s3:DeleteObject"} & set(listed(one["Action"]))]
    assert [one["Resource"] for one in others] == [{"Fn::Sub": "${Bucket.Arn}/outbox/*"}], "the sweep delivers events"


def test_serve_writes_requests_and_its_own_keys_only_and_deletes_no_request():
    (policy,) = SERVE["Resources"]["TaskRole"]["Properties"]["Policies"]
    roots = {
        action: sorted(one["Fn::Sub"].partition("${Bucket}/")[2] for one in statement["Resource"])
        for statement in policy["PolicyDocument"]["Statement"]
        for action in listed(statement["Action"])
        if action != "s3:ListBucket"
    }
    assert roots["s3:PutObject"] == ["probes/*", "queue/*", "requests/*"]
    assert roots["s3:DeleteObject"] == ["probes/*", "queue/*"]
    assert not {"users/*", "photos/*", "*"} & set(roots["s3:GetObject"])


def test_serve_is_one_task_that_only_its_load_balancer_reaches_over_tls():
    service = SERVE["Resources"]["Service"]["Properties"]
    assert service["DesiredCount"] == 1
    deployment = service["DeploymentConfiguration"]
    assert (deployment["MinimumHealthyPercent"], deployment["MaximumPercent"]) == (0, 100), "two would answer twice"
    (ingress,) = SERVE["Resources"]["ServeGroup"]["Properties"]["SecurityGroupIngress"]
    assert ingress["SourceSecurityGroupId"] == {"Ref": "BalancerGroup"}
    assert SERVE["Resources"]["Listener"]["Properties"]["Protocol"] == "HTTPS"
    assert SERVE["Resources"]["PlainListener"]["Condition"] == "HasPlainHttp"
    (rule,) = MAIN["Rules"]["TokensAreNotSentInClear"]["Assertions"]
    assert rule["Assert"] == {"Fn::Equals": [{"Ref": "ServeScheme"}, "internal"]}
    idle = {one["Key"]: one["Value"] for one in SERVE["Resources"]["Balancer"]["Properties"]["LoadBalancerAttributes"]}
    assert int(idle["idle_timeout.timeout_seconds"]) > ServeSettings().longest_poll_seconds


def test_a_working_task_may_protect_itself():
    actions = {action for _, one in statements() for action in listed(one["Action"])}
    assert {"ecs:UpdateTaskProtection", "ecs:GetTaskProtection", "sqs:ChangeMessageVisibility"} <= actions


def test_the_bucket_is_private_encrypted_and_cleans_up():
    bucket = MAIN["Resources"]["Bucket"]
    properties = bucket["Properties"]
    assert bucket["DeletionPolicy"] == "Retain"
    assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
    assert properties["BucketEncryption"]
    deny = MAIN["Resources"]["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert [(one["Effect"], one["Condition"]) for one in deny] == [("Deny", {"Bool": {"aws:SecureTransport": "false"}})]
    rules = {one.get("Prefix"): one for one in properties["LifecycleConfiguration"]["Rules"]}
    assert rules[None]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert not {"requests/", "results/", "users/", "outbox/"} & set(rules), "these are the user's, or not yet told"
    retention = FUNCTION["Resources"]["Queue"]["Properties"]["MessageRetentionPeriod"] / 86_400
    assert rules["claims/"]["ExpirationInDays"] > retention


def test_prune_may_delete_what_photog_keeps_and_no_picture_of_the_application():
    from shared.contract import keys

    (policy,) = MAIN["Resources"]["PruneRole"]["Properties"]["Policies"]
    (deletes,) = [one for one in policy["PolicyDocument"]["Statement"] if one["Action"] == "s3:DeleteObject"]
    roots = {one["Fn::Sub"].removeprefix("${Bucket.Arn}/").removesuffix("*") for one in deletes["Resource"]}
    assert roots == set(keys.ROOTS) - {keys.PROBES, keys.WORKERS}


# --- machines ------------------------------------------------------------------------------------------------


def test_services_scale_on_backlog_per_task_as_the_pages_autoscaler():
    tracking = FUNCTION["Resources"]["BacklogPerTask"]["Properties"]["TargetTrackingScalingPolicyConfiguration"]
    assert (tracking["TargetValue"], tracking["ScaleInCooldown"]) == (1, 60)
    metrics = tracking["CustomizedMetricSpecification"]["Metrics"]
    assert [one["Id"] for one in metrics if one["ReturnData"]] == ["backlog"]
    assert [MAIN["Parameters"][name]["Default"] for name in ("MinTrain", "MaxTrain")] == [1, 5]
    assert MAIN["Resources"]["Cluster"]["Properties"]["ClusterSettings"] == [
        {"Name": "containerInsights", "Value": "enabled"}
    ]


@pytest.mark.parametrize(
    ("waiting", "working", "tasks", "backlog"), [(0, 0, 1, 0), (0, 1, 1, 1), (3, 1, 1, 4), (2, 2, 2, 2), (1, 0, 0, 1)]
)
def test_the_backlog_of_a_busy_task_is_one_so_it_is_not_taken_away(waiting, working, tasks, backlog):
    metrics = FUNCTION["Resources"]["BacklogPerTask"]["Properties"]["TargetTrackingScalingPolicyConfiguration"]
    expression = metrics["CustomizedMetricSpecification"]["Metrics"][-1]["Expression"]
    names = {"waiting": waiting, "working": working, "tasks": tasks, "FILL": lambda value, other: value}
    assert eval(expression, {"__builtins__": {}}, names | {"IF": lambda test, yes, no: yes if test else no}) == backlog


def test_a_person_is_told_of_a_fleet_that_cannot_start_of_old_requests_and_of_dead_letters():
    alarms = {name: one for name, one in FUNCTION["Resources"].items() if one["Type"] == "AWS::CloudWatch::Alarm"}
    told = {name for name, one in alarms.items() if "AlarmTopic" in json.dumps(one["Properties"].get("AlarmActions"))}
    assert told == {"CannotStart", "OldRequest", "DeadLetterAlarm"}
    assert MAIN["Resources"]["Alarms"]["Properties"]["Subscription"][0]["Endpoint"] == {"Ref": "AlarmEmail"}
    expression = alarms["CannotStart"]["Properties"]["Metrics"][-1]["Expression"]
    names = {"FILL": lambda value, other: value, "IF": lambda test, yes, no: yes if test else no}
    for tasks, waiting, stranded in [(0, 3, 3), (1, 3, 0), (0, 0, 0)]:
        assert eval(expression, {"__builtins__": {}}, names | {"tasks": tasks, "waiting": waiting}) == stranded


def test_gpu_machines_are_not_taken_from_under_a_task():
    provider = MAIN["Resources"]["GpuCapacity"]["Properties"]["AutoScalingGroupProvider"]
    assert provider["ManagedScaling"]["Status"] == "ENABLED"
    assert provider["ManagedTerminationProtection"] == "ENABLED"
    assert MAIN["Resources"]["GpuMachines"]["Properties"]["NewInstancesProtectedFromScaleIn"] is True
    metadata = MAIN["Resources"]["GpuMachine"]["Properties"]["LaunchTemplateData"]["MetadataOptions"]
    assert metadata == {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}


def test_batch_tries_again_on_75_and_a_lost_machine_only():
    rules = BATCH["Resources"]["Job"]["Properties"]["RetryStrategy"]["EvaluateOnExit"]
    assert [one for one in rules if one["Action"] == "RETRY"] == [
        {"Action": "RETRY", "OnExitCode": "75"},
        {"Action": "RETRY", "OnStatusReason": "Host EC2*"},
    ]
    assert rules[-1] == {"Action": "EXIT", "OnReason": "*"}


def spoken(command: list, batch: bool) -> list[str]:
    """Return a container's command with every name filled in, for train on ECS or on Batch."""
    words: list[str] = []
    for word in command:
        if isinstance(word, dict) and "Fn::If" in word:
            word = word["Fn::If"][1 if batch else 2]
        if word == {"Ref": "AWS::NoValue"}:
            continue
        words.append("x" if isinstance(word, dict) and "Fn::GetAtt" in word else str(filled(word, given("train"))))
    return words


def test_the_sweep_sends_each_functions_lost_requests_to_its_own_queue():
    command = MAIN["Resources"]["SweepTask"]["Properties"]["ContainerDefinitions"][0]["Command"]
    text = json.dumps(command)
    for function in FUNCTIONS:
        assert text.index(f'"{function}"') < text.index(f'"{function.capitalize()}", "Outputs.Queue"')
    override = MAIN["Resources"]["SweepRule"]["Properties"]["Targets"][1]["Fn::If"][1]["Input"]["Fn::Sub"][0]
    understood(json.loads(override)["containerOverrides"][0]["command"])


def test_containers_run_verbs_and_settings_that_exist():
    seen = 0
    for name, properties in resources("AWS::ECS::TaskDefinition", "AWS::Batch::JobDefinition"):
        for container in properties.get("ContainerDefinitions", [properties.get("ContainerProperties")]):
            for batch in (False, True):
                understood(spoken(container["Command"], batch))
            for variable in container["Environment"]:
                either = variable.get("Fn::If", ["", variable])[1:]
                for one in either:
                    if one != {"Ref": "AWS::NoValue"}:
                        is_setting(one["Name"])
            seen += 1
            assert container["LogConfiguration"]["LogDriver"] == "awslogs", name
    assert seen == 6


def test_a_container_is_given_longer_to_stop_than_the_worker_drains():
    from shared.settings import Settings

    assert (
        FUNCTION["Resources"]["Task"]["Properties"]["ContainerDefinitions"][0]["StopTimeout"]
        > Settings().lease.drain_seconds
    )


def _values(value: object) -> list:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value, *(one for each in inner for one in _values(each))]
