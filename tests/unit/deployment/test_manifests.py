"""What the Kubernetes schemas do not tell of k8s/, compose.yaml, render.yaml and the Dockerfile."""

import json
import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands

from booking_service.devstack.servers import MongoServer
from booking_service.operations.urls import urlpatterns
from events.broker import Outcome
from events.consumer import Fate
from events.models import Lane, Status
from tests.unit.operations.test_settings import NEEDED

ROOT = Path(settings.BASE_DIR)
FILES = [*sorted((ROOT / "k8s").glob("*.yaml")), ROOT / "k8s" / "secret.yaml.example"]
WORKLOADS = {"Deployment", "Job", "CronJob"}
SETTINGS_SOURCE = (ROOT / "booking_service" / "settings.py").read_text()
NOT_OURS = {"up", "kube_cronjob_status_last_successful_time"}
METRIC = re.compile(r'"(booking_\w+)"')
SELECTOR = re.compile(r"\b(\w+)\{([^}]*)\}")
MATCHER = re.compile(r'(\w+)(?:=~|!~|!=|=)"([^"]*)"')


def documents() -> Iterator[dict[str, Any]]:
    for file in FILES:
        yield from yaml.safe_load_all(file.read_text())


def pods() -> dict[str, dict[str, Any]]:
    """The pod specification of each workload by its name."""
    found = {}
    for document in documents():
        if document["kind"] in WORKLOADS:
            spec = document["spec"]
            spec = spec["jobTemplate"]["spec"] if document["kind"] == "CronJob" else spec
            found[document["metadata"]["name"]] = spec["template"]["spec"]
    return found


def containers() -> list[dict[str, Any]]:
    return [container for pod in pods().values() for container in [*pod.get("initContainers", []), *pod["containers"]]]


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [document for document in documents() if document["kind"] == kind]


def test_everything_that_runs_is_there():
    assert set(pods()) == {"web", "publisher", "consumer", "migrate", "sweep", "reminders"}


def test_everything_lives_in_its_namespace():
    assert {d["metadata"].get("namespace") for d in documents() if d["kind"] != "Namespace"} == {"patient-booking"}


def test_one_image_of_the_present_version_runs_everything():
    assert {container["image"] for container in containers()} == {
        f"registry.example.com/patient-booking:{settings.VERSION}"
    }
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    own = {service["image"] for service in compose["services"].values() if "build" in service}
    assert own == {f"patient-booking:{settings.VERSION}"}


@pytest.mark.parametrize("name", sorted(pods()))
def test_pods_keep_to_the_restricted_profile(name):
    pod = pods()[name]
    security = pod["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
        assert {"requests", "limits"} <= set(container["resources"])


@pytest.mark.parametrize("name", sorted(set(pods()) - {"migrate"}))
def test_whatever_runs_waits_for_the_migrations_of_its_release(name):
    (first, *_) = pods()[name]["initContainers"]
    assert first["command"] == ["python", "manage.py", "migrate", "--check"]


def test_the_user_of_pods_is_that_of_the_image():
    (user,) = re.findall(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    ids = {
        (str(pod["securityContext"]["runAsUser"]), str(pod["securityContext"]["runAsGroup"])) for pod in pods().values()
    }
    assert ids == {user}


def commands() -> set[str]:
    """Every `manage.py` command that is named anywhere."""
    named = {" ".join(container.get("command", [])) for container in containers()}
    named.add((ROOT / "compose.yaml").read_text().replace(", ", " "))
    named.add((ROOT / "render.yaml").read_text())
    return {name for text in named for name in re.findall(r"manage\.py (\w+)", text)}


def test_every_command_exists():
    assert {"migrate", "publish_events", "consume_events", "sweep_bookings", "send_reminders"} <= commands()
    assert commands() <= set(get_commands())


def test_every_variable_is_a_setting():
    config, secret = of_kind("ConfigMap")[0]["data"], of_kind("Secret")[0]["stringData"]
    named = {*config, *secret}
    for source in ("compose.yaml", "render.yaml"):
        named |= set(
            re.findall(r"\b(?:key: |envVarKey: |^ {4})([A-Z][A-Z_]+)\b", (ROOT / source).read_text(), re.MULTILINE)
        )

    assert [name for name in sorted(named) if f'"{name}"' not in SETTINGS_SOURCE] == []


def test_production_is_given_all_that_it_has_no_default_for():
    given = {**of_kind("ConfigMap")[0]["data"], **of_kind("Secret")[0]["stringData"]}
    assert given["ENVIRONMENT"] == "production"
    assert set(NEEDED) <= set(given)


def test_the_example_secret_holds_no_secret_and_is_not_applied():
    values = of_kind("Secret")[0]["stringData"]
    assert {name for name, value in values.items() if value and "password" not in value} == set()
    assert not list((ROOT / "k8s").glob("*secret*.yaml"))


@pytest.mark.parametrize("kind", ["PodDisruptionBudget", "Deployment"])
def test_selectors_match_the_pods_they_are_meant_for(kind):
    labels = [d["spec"]["template"]["metadata"]["labels"] for d in of_kind("Deployment")]
    assert [d["spec"]["selector"]["matchLabels"] for d in of_kind(kind)] == labels


def test_a_pod_has_the_time_that_gunicorn_needs_to_finish():
    graceful = int(re.findall(r"^graceful_timeout = (\d+)$", (ROOT / "gunicorn.conf.py").read_text(), re.MULTILINE)[0])
    pause = int(pods()["web"]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])

    assert pods()["web"]["terminationGracePeriodSeconds"] > graceful + pause


@pytest.mark.parametrize("command", ["publish_events", "consume_events", "sweep_bookings", "send_reminders"])
@pytest.mark.parametrize("file", ["Procfile", "compose.yaml", "render.yaml", "k8s"])
def test_every_platform_runs_all_that_the_service_needs(file, command):
    path = ROOT / file
    texts = [path.read_text()] if path.is_file() else [entry.read_text() for entry in path.glob("*.yaml")]
    assert any(command in line for text in texts for line in text.splitlines() if not line.lstrip().startswith("#"))


def test_workers_show_their_figures_where_somebody_can_ask_for_them():
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    for worker in ("publisher", "consumer"):
        (container,) = pods()[worker]["containers"]
        (port,) = [entry["value"] for entry in container["env"] if entry["name"] == "EVENTS_METRICS_PORT"]
        assert compose[worker]["environment"]["EVENTS_METRICS_PORT"] == port
        assert compose[worker]["environment"]["MONGODB_URI"] == compose["web"]["environment"]["MONGODB_URI"]
        assert compose[worker]["ports"][0].endswith(f":{port}")


def test_locks_of_dead_processes_last_as_long_everywhere_as_in_the_tests():
    (limit,) = [word for word in MongoServer(Path("/nowhere")).command() if "transactionLifetimeLimitSeconds" in word]
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert limit in compose["mongodb"]["command"]
    assert limit in (ROOT / "docs" / "operations.md").read_text()


def alerts() -> list[dict[str, Any]]:
    (config,) = [d for d in of_kind("ConfigMap") if d["metadata"]["name"] == "patient-booking-alerts"]
    (group,) = yaml.safe_load(config["data"]["patient-booking.rules.yaml"])["groups"]
    return group["rules"]


def metric_names() -> set[str]:
    """Everything that `/metrics` can show, of the service and of its workers."""
    from booking_service.operations import metrics

    objects = [value for value in vars(metrics).values() if hasattr(value, "describe") and hasattr(value, "_name")]
    names = {sample for metric in objects for sample in samples(metric)}
    return names | {name for file in (ROOT / "events").glob("*.py") for name in METRIC.findall(file.read_text())}


def samples(metric: Any) -> list[str]:
    suffixes = {"counter": ["_total"], "histogram": ["_count", "_sum", "_bucket"]}.get(metric._type, [""])
    return [metric._name + suffix for suffix in suffixes]


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_there_is(rule):
    promql_parser.parse(rule["expr"])

    named = set(re.findall(r"\b(booking_\w+|up|kube_\w+)\b(?=[{\[)]| ==|$)", rule["expr"]))
    assert named
    assert named <= metric_names() | NOT_OURS
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["summary"]


def label_values() -> dict[tuple[str, str], set[str]]:
    """What a label of a metric can say; names as the alerts give them."""
    routes = {str(pattern.pattern) for pattern in urlpatterns}
    statuses = {str(status.value) for status in HTTPStatus}
    return {
        ("up", "namespace"): {of_kind("Namespace")[0]["metadata"]["name"]},
        ("up", "pod"): {f"{name}-6d4cf56db6-x7k2p" for name in pods()},
        ("kube_cronjob_status_last_successful_time", "namespace"): {of_kind("Namespace")[0]["metadata"]["name"]},
        ("booking_request_seconds_count", "status"): statuses,
        ("booking_request_seconds_bucket", "route"): routes,
        ("booking_database_seconds_count", "outcome"): {"ok", "failed"},
        ("booking_outbox_oldest_seconds", "lane"): set(Lane),
        ("booking_outbox_oldest_seconds", "status"): set(Status),
        ("booking_outbox_events", "lane"): set(Lane),
        ("booking_outbox_events", "status"): set(Status),
        ("booking_events_consumed_total", "outcome"): set(Fate),
        ("booking_events_published_total", "outcome"): set(Outcome),
        ("booking_events_queue_messages", "queue"): {"events", "dead"},
        ("booking_partner_calls_total", "outcome"): {"ok"},
        ("booking_cache_lookups_total", "result"): {"hit", "miss", "down"},
    }


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_labels_that_there_are(rule):
    known = label_values()
    for metric, matchers in SELECTOR.findall(rule["expr"]):
        for label, wanted in MATCHER.findall(matchers):
            for alternative in wanted.split("|"):
                said = [value for value in known[metric, label] if re.fullmatch(alternative, str(value))]
                assert said, f"{metric} never has {label}={alternative}"


@pytest.mark.parametrize("component", ["web", "publisher", "consumer"])
def test_it_is_told_when_nothing_of_a_component_runs(component):
    absent = f'absent(up{{namespace="patient-booking", pod=~"{component}-.*"}} == 1)'
    assert [rule["labels"]["severity"] for rule in alerts() if rule["expr"] == absent] == ["page"]


def test_every_alert_is_explained():
    explained = (ROOT / "docs" / "operations.md").read_text()
    assert [rule["alert"] for rule in alerts() if rule["alert"] not in explained] == []


def test_the_images_command_is_gunicorn_with_our_configuration():
    (command,) = re.findall(r"^CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert json.loads(command) == ["python", "-m", "gunicorn", "--config", "gunicorn.conf.py"]
