"""The dashboard and the alerts of deploy/monitoring: their queries are PromQL, over metrics and labels that exist."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from serve.metrics import Metrics
from shared.contract.hooks import Attempt, Progress
from shared.contract.manifests import failure, success
from shared.errors import InvalidField
from shared.observability.exposition import Exposition
from shared.observability.metrics import WorkerMetrics
from shared.observability.metrics_settings import MetricsSettings

FOLDER = Path(__file__).parents[2] / "deploy/monitoring"
DASHBOARD = json.loads((FOLDER / "grafana.json").read_text())
RULES = [rule for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
OF_OTHERS = {"kube_deployment_status_replicas_unavailable", "container_start_time_seconds"}
GRAFANAS = {"$__rate_interval": "5m", "$service": "generate"}  # variables of Grafana, which PromQL does not know


def queries() -> Iterator[tuple[str, str]]:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            text = target["expr"]
            for variable, value in GRAFANAS.items():
                text = text.replace(variable, value)
            yield panel["title"], text
    for rule in RULES:
        yield rule["alert"], rule["expr"]


@pytest.fixture(scope="module")
def labels() -> dict[str, set[str]]:
    """Return the labels of every series of a worker and of the queue server, by its name."""
    worker = WorkerMetrics("generate", MetricsSettings(port=0))
    worker._exposition = exposition = Exposition("generate", "generate", MetricsSettings(port=0), lambda: None)
    attempt = Attempt("generate", "r", 1)
    worker.before(attempt)
    worker.progressed(attempt, Progress("start", 0, 1))
    worker.after(attempt, success("r", "success", {"usage": attempt.usage(answered=True)}))
    worker.after(attempt, failure("r", InvalidField("x", "no"), {}))
    worker.failed(attempt, "child died")
    store: Any = SimpleNamespace(services={"photog_check": "check"}, index=SimpleNamespace(states=lambda service: {}))
    server = Metrics(store)
    server.count_answer("photog_check", "OK")
    server.stage("photog_check", "running", 1.0)
    found: dict[str, set[str]] = {}
    for text in (exposition.text().decode(), server.exposition().decode()):
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    found |= {"photog_puts_total": {"queue"}, "photog_consumed_total": {"queue"}}  # from the first put on
    return found


def selectors(expression: object) -> Iterator[promql_parser.VectorSelector]:
    if isinstance(expression, promql_parser.VectorSelector):
        yield expression
    for name in ("expr", "lhs", "rhs", "vector_selector", "args"):
        inner = getattr(expression, name, None)
        for one in inner if isinstance(inner, list) else [inner]:
            if one is not None:
                yield from selectors(one)


@pytest.mark.parametrize(("title", "text"), [pytest.param(*one, id=f"{one[0]} {n}") for n, one in enumerate(queries())])
def test_a_query_reads_metrics_and_labels_that_are_there(labels, title, text):
    found = list(selectors(promql_parser.parse(text)))
    assert found, text
    assert len(found) == len(re.findall(r"\b(?:photog|kube|container)_\w+", text)), "all of them are looked at"
    for one in found:
        if one.name not in OF_OTHERS:
            assert one.name in labels, f"{title}: there is no {one.name}"
            assert {matcher.name for matcher in one.matchers.matchers} <= labels[one.name], title
    grouped = {label for names in re.findall(r"by \(([^)]*)\)", text) for label in names.split(", ")}
    assert grouped <= set().union(*(labels.get(one.name, set()) for one in found)), title


def test_a_query_over_a_metric_that_is_not_there_is_found(labels):
    with pytest.raises(AssertionError, match="photog_portraits"):
        test_a_query_reads_metrics_and_labels_that_are_there(labels, "x", "rate(photog_portraits_total[5m])")


def test_every_alert_says_what_to_do_and_names_labels_that_its_series_has():
    for rule in RULES:
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["action"], rule["alert"]
        for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
            assert label in rule["expr"] or label in ("deployment", "name"), rule["alert"]


def test_panels_of_the_dashboard_do_not_overlap():
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        area = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not area & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= area
