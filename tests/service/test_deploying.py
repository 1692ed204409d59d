"""The Dockerfile and the manifests of Kubernetes say what the service does: its routes, port, settings and times."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
import yaml

from tests.service.conftest import ROOT
from tfswa_unet.config import compose_values
from tfswa_unet.service.server import DRAIN_SECONDS, STOP_SECONDS

FOLDER = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("base", "gpu", "trial", "token")
DOCKERFILE = (ROOT / "Dockerfile").read_text()
UNITS = {"m": 1e-3, "Mi": 2**20, "Gi": 2**30, "": 1}


def documents(text):
    return [each for each in yaml.safe_load_all(text) if each]


def rendered(overlay):
    """An overlay's resources by kind and name; the test is skipped where nothing puts them together."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed, which puts manifests together")
    command = ["kubectl", "kustomize", str(FOLDER / overlay)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {(each["kind"], each["metadata"]["name"]): each for each in documents(text)}


@pytest.fixture(scope="module")
def written():
    """The resources of all files as they stand there, by kind and name."""
    paths = [path for path in sorted(FOLDER.glob("*/*.yaml")) if path.name != "kustomization.yaml"]
    assert len(paths) > 4
    return {(each["kind"], each["metadata"]["name"]): each for path in paths for each in documents(path.read_text())}


def pods(resources):
    return {
        key: each["spec"]["template"]["spec"] for key, each in resources.items() if "template" in each.get("spec", {})
    }


def amount(text):
    number, unit = re.fullmatch(r"([\d.]+)(\w*)", str(text)).groups()
    return float(number) * UNITS[unit]


def check_pods(resources):
    """No root, no privileges, limits, probes where something serves, and volumes for all that is written."""
    for (kind, name), pod in pods(resources).items():
        secure = pod["securityContext"]
        assert secure["runAsNonRoot"], name
        assert secure["runAsUser"] > 0, name
        assert secure["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not pod["automountServiceAccountToken"], name
        volumes = {each["name"] for each in pod.get("volumes", [])}
        volumes |= {each["metadata"]["name"] for each in resources[kind, name]["spec"].get("volumeClaimTemplates", [])}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            requests, limits = container["resources"]["requests"], container["resources"]["limits"]
            assert all(0 < amount(requests[what]) <= amount(limits[what]) for what in ("cpu", "memory")), name
            assert {each["name"] for each in container["volumeMounts"]} == volumes, name
            assert kind == "Job" or {"readinessProbe", "livenessProbe"} <= set(container), name


def test_pods_have_limits_probes_and_no_rights(written):
    assert {kind for kind, _ in pods(written)} == {"Deployment", "StatefulSet", "Job"}
    check_pods(written)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_are_whole(overlay):
    resources = rendered(overlay)
    check_pods(resources)
    named = {name for kind, name in resources if kind in ("Secret", "PersistentVolumeClaim")}
    named |= {"tfswa-database"} if overlay != "trial" else set()  # which the operator makes
    for (_, name), pod in pods(resources).items():
        asked = {
            each["persistentVolumeClaim"]["claimName"] for each in pod["volumes"] if "persistentVolumeClaim" in each
        }
        for container in pod["containers"]:
            keys = [each["valueFrom"] for each in container.get("env", []) if "valueFrom" in each]
            asked |= {each["secretKeyRef"]["name"] for each in keys if "secretKeyRef" in each}
            assert ":" in container["image"], name
        assert asked <= named, name
    if overlay == "gpu":
        (container,) = pods(resources)["Deployment", "tfswa"]["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
        assert "separation.device=cuda" in container["args"]
        assert container["image"].endswith("-cuda")


def test_overlays_are_valid_resources(tmp_path):
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed: make install")
    for overlay in OVERLAYS:
        for resource in rendered(overlay).values():
            validate.validate(resource, "1.30", strict=True)


def test_ports_and_probes_are_those_of_the_service(written, application):
    routes = {getattr(route, "path", None) for route in application().app.routes}
    (container,) = pods(written)["Deployment", "tfswa"]["containers"]
    port = compose_values("serve")["port"]
    assert container["ports"] == [{"name": "http", "containerPort": port}]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        assert asked["path"] in routes, probe
        assert asked["port"] == "http"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"  # a worker that loads its model is no fault
    assert written["Service", "tfswa"]["spec"]["ports"][0]["targetPort"] == "http"
    labels = written["Deployment", "tfswa"]["spec"]["template"]["metadata"]["labels"]
    for kind in ("Service", "PodDisruptionBudget"):
        selector = written[kind, "tfswa"]["spec"]["selector"]
        assert selector.get("matchLabels", selector) == labels, kind
    assert f"EXPOSE {port}\n" in DOCKERFILE
    assert re.search(rf"http://127\.0\.0\.1:{port}(/\w+)", DOCKERFILE)[1] in routes
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["stems"]
    assert compose["ports"] == [f"127.0.0.1:{port}:{port}"]


def test_settings_are_those_of_the_service(written):
    (container,) = pods(written)["Deployment", "tfswa"]["containers"]
    overrides = [each for each in container["args"] if not each.startswith("--")]
    values = compose_values("serve", [each.replace("$(POD_NAME)", "pod") for each in overrides])
    assert values["node"] == "pod"
    assert values["separation"]["threads"] <= amount(container["resources"]["requests"]["cpu"])
    for overlay in ("gpu", "trial"):
        text = (FOLDER / overlay / "kustomization.yaml").read_text()
        (override,) = re.findall(r"value: ([\w.]+=\S+?)[},]?$", text, re.MULTILINE)
        compose_values("serve", [override])  # raises for what it does not know
    asked = set(re.findall(r"oc\.env:(\w+)", (ROOT / "conf" / "serve.yaml").read_text()))
    assert {each["name"] for each in container["env"]} - {"POD_NAME", "HOME"} <= asked
    assert "TFSWA_MODEL" in asked
    assert "TFSWA_MODEL=" in DOCKERFILE
    url = (FOLDER / "trial" / "database.env").read_text()
    password = re.search("POSTGRES_PASSWORD=(.*)", url)[1]
    assert f"TFSWA_DATABASE=postgresql+psycopg://tfswa:{password}@postgres/tfswa" in url


def test_the_worker_has_time_to_park_its_song(written):
    pod = pods(written)["Deployment", "tfswa"]
    pause = float(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > pause + STOP_SECONDS + DRAIN_SECONDS
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["stems"]
    assert float(compose["stop_grace_period"].rstrip("s")) > STOP_SECONDS + DRAIN_SECONDS


def test_the_image_runs_as_the_user_of_the_manifests(written):
    (user,) = re.findall(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE)
    assert f"useradd --uid {user}" in DOCKERFILE
    for kind, name in (("Deployment", "tfswa"), ("Job", "tfswa-token")):
        assert pods(written)[kind, name]["securityContext"]["runAsUser"] == int(user)


def test_the_image_is_named_once():
    image = yaml.safe_load((FOLDER / "image" / "kustomization.yaml").read_text())["images"][0]
    gpu = yaml.safe_load((FOLDER / "gpu" / "kustomization.yaml").read_text())["images"][0]
    assert (gpu["name"], gpu["newTag"]) == (image["newName"], f"{image['newTag']}-cuda")
    version = re.search('^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert image["newTag"] == version


def test_images_are_built_with_what_is_in_them_by_pinned_actions():
    text = (ROOT / ".github" / "workflows" / "image.yml").read_text()
    workflow = yaml.safe_load(text)
    (job,) = workflow["jobs"].values()
    used = [step["uses"] for step in job["steps"] if "uses" in step]
    assert len(used) > 3
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", each) for each in used), used
    (build,) = (step["with"] for step in job["steps"] if "build-push" in step.get("uses", ""))
    assert (build["push"], build["sbom"], build["provenance"]) == (True, True, "mode=max")
    assert workflow[True] == {"push": {"tags": ["v*"]}}  # YAML 1.1 reads the key on as true
    suffixes = [each["suffix"] for each in job["strategy"]["matrix"]["include"]]
    assert suffixes == ["", "-cuda"]
    (argument,) = re.findall(r"(\w+)=", build["build-args"])
    assert f"ARG {argument}=" in DOCKERFILE


def test_the_pages_name_files_that_are_there(written):
    text = (ROOT / "docs" / "deploying.md").read_text()
    named = set(re.findall(r"deploy/[\w./]+\w", text))
    assert len(named) > 6
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
    port, limits = compose_values("serve")["port"], compose_values("serve")["limits"]
    nginx = (ROOT / "deploy" / "vm" / "nginx.conf").read_text()
    assert f"proxy_pass http://127.0.0.1:{port};" in nginx
    assert f"client_max_body_size {limits['megabytes']:g}m;" in nginx
    assert f"reverse_proxy 127.0.0.1:{port} " in (ROOT / "deploy" / "vm" / "Caddyfile").read_text()
    unit = (ROOT / "deploy" / "vm" / "tfswa.service").read_text()
    (override,) = re.findall(r"(names=\S+)", unit)
    assert compose_values("serve", [override])["names"] == ["stems.example.org"]
    assert float(re.search(r"TimeoutStopSec=(\d+)", unit)[1]) > STOP_SECONDS + DRAIN_SECONDS
