"""render.yaml by the rules of Render's Blueprint reference, whose schema comes in no package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings

from tests.unit.operations.test_settings import NEEDED

ROOT = Path(settings.BASE_DIR)
BLUEPRINT: dict[str, Any] = yaml.safe_load((ROOT / "render.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = {service["name"]: service for service in BLUEPRINT["services"]}

BUILT = {"type", "name", "runtime", "plan", "dockerfilePath", "envVars"}
STAYS_UP = {"maxShutdownDelaySeconds", "preDeployCommand", "scaling"}
# By type: the fields that must be there, and those that may be.
FIELDS: dict[str, tuple[set[str], set[str]]] = {
    "web": (BUILT | {"healthCheckPath"}, STAYS_UP | {"dockerCommand"}),
    "worker": (BUILT | {"dockerCommand"}, STAYS_UP),
    "cron": (BUILT | {"dockerCommand", "schedule"}, set()),
    "keyvalue": ({"type", "name", "ipAllowList"}, {"plan", "maxmemoryPolicy"}),
}
PLANS = {"free", "starter", "standard", "pro", "pro plus"}
SCALING = {"minInstances", "maxInstances", "targetCPUPercent", "targetMemoryPercent"}
ONE_SOURCE = [{"key", "value"}, {"key", "sync"}, {"key", "generateValue"}, {"key", "fromService"}, {"fromGroup"}]
OURS = [name for name, service in SERVICES.items() if service["type"] != "keyvalue"]


def keys(entries: list[dict[str, Any]]) -> set[str]:
    return {entry["key"] for entry in entries if "key" in entry}


def given(service: dict[str, Any]) -> set[str]:
    """Every variable that the service's processes see."""
    groups = {group["name"]: keys(group["envVars"]) for group in BLUEPRINT["envVarGroups"]}
    own = keys(service["envVars"])
    return own.union(*(groups[entry["fromGroup"]] for entry in service["envVars"] if "fromGroup" in entry))


def test_it_has_the_parts_of_a_blueprint():
    assert set(BLUEPRINT) == {"services", "envVarGroups"}
    assert len(SERVICES) == len(BLUEPRINT["services"])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_the_fields_of_its_type(name):
    service = SERVICES[name]
    needed, allowed = FIELDS[service["type"]]
    assert needed <= set(service) <= needed | allowed
    assert service["plan"] in PLANS
    assert service.get("runtime", "docker") == "docker"
    assert 1 <= service.get("maxShutdownDelaySeconds", 1) <= 300


def test_cached_answers_go_before_the_counts_of_sign_ins():
    [redis] = [service for service in SERVICES.values() if service["type"] == "keyvalue"]
    assert redis["maxmemoryPolicy"] == "volatile-ttl"
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    command = compose["services"]["redis"]["command"]
    assert command[command.index("--maxmemory-policy") + 1] == "volatile-ttl"


def test_instances_scale_within_bounds():
    scaling = SERVICES["patient-booking"]["scaling"]
    assert {"minInstances", "maxInstances"} < set(scaling) <= SCALING
    assert 1 <= scaling["minInstances"] <= scaling["maxInstances"]
    assert 1 <= scaling["targetCPUPercent"] <= 90


@pytest.mark.parametrize("name", [name for name, service in SERVICES.items() if service["type"] == "cron"])
def test_a_schedule_has_five_parts(name):
    assert len(SERVICES[name]["schedule"].split()) == 5


@pytest.mark.parametrize("name", OURS)
def test_each_variable_has_one_source(name):
    entries = SERVICES[name]["envVars"]
    assert [entry for entry in entries if set(entry) not in ONE_SOURCE] == []
    assert [entry for entry in entries if entry.get("sync") or entry.get("generateValue") is False] == []
    assert len([entry for entry in entries if "key" in entry]) == len(keys(entries))


@pytest.mark.parametrize("name", OURS)
def test_what_comes_from_another_service_is_there(name):
    for source in [entry["fromService"] for entry in SERVICES[name]["envVars"] if "fromService" in entry]:
        other = SERVICES[source["name"]]
        assert other["type"] == source["type"]
        if "property" in source:
            assert (source["type"], source["property"]) == ("keyvalue", "connectionString")
        else:
            assert source["envVarKey"] in keys(other["envVars"])


@pytest.mark.parametrize("group", BLUEPRINT["envVarGroups"], ids=lambda group: group["name"])
def test_a_group_has_values_that_are_texts(group):
    assert [entry for entry in group["envVars"] if set(entry) != {"key", "value"}] == []
    assert {type(entry["value"]) for entry in group["envVars"]} == {str}


@pytest.mark.parametrize("name", OURS)
def test_each_process_gets_all_that_production_and_its_secrets_need(name):
    secret = yaml.safe_load((ROOT / "k8s" / "secret.yaml.example").read_text())["stringData"]
    assert set(NEEDED) | set(secret) | {"ENVIRONMENT", "ALLOWED_HOSTS"} <= given(SERVICES[name])


@pytest.mark.parametrize("name", OURS)
def test_it_builds_the_image_that_everything_runs_from(name):
    assert (ROOT / SERVICES[name]["dockerfilePath"]).is_file()
