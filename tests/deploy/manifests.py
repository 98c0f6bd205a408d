#!/usr/bin/env python3
"""Checks the manifests of this folder: kubernetes.yaml, compose.yaml and resource-server.service.

`kubernetes-validate`, `docker-compose` and `systemd-analyze` validate them. The program starts with exactly the
environment of each, except for the address and the path of the secret.
"""

import json
import pathlib
import re
import subprocess
import tempfile

from support import (SECRET, TARGET, Process, ask, check, find, finish, free_port, server_binary,
                     skip)

HERE = pathlib.Path(__file__).resolve().parent
OLDEST_KUBERNETES = 30
MAX_EXPOSURE = 1.5


def output(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    return done.returncode, done.stdout + done.stderr


def documents(file):
    program = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(sys.stdin))))"
    _, text = output(TARGET / "deploy" / "bin" / "python", "-c", program,
                     input=(HERE / file).read_text())
    return json.loads(text)


def check_start(name, binary, variables, folder, mounted):
    """The program serves with this environment, and the secret is where the environment says."""
    known = subprocess.run([binary, "--help"], capture_output=True, text=True, check=True).stdout
    unknown = set(variables) - set(known.split())
    check(f"{name}: every variable is one of the program's", not unknown, unknown)
    check(f"{name}: the secret is where the program looks", variables["JWT_SECRET_FILE"] == mounted,
          (variables["JWT_SECRET_FILE"], mounted))
    secret, port = folder / "secret", free_port()
    secret.write_text(SECRET + "\n")
    variables |= {"API_HOST": "127.0.0.1", "API_PORT": str(port), "JWT_SECRET_FILE": str(secret)}
    with Process([binary], port, folder / f"{name}.log", env=variables):
        status, _, _ = ask(port, path="/healthz")
        check(f"{name}: the program serves with this environment", status == 200, status)


def check_kubernetes(binary, folder):
    schemas = (TARGET / "deploy").glob("lib/*/site-packages/kubernetes_validate/*/v1.*-strict")
    minors = sorted(int(schema.name.split(".")[1]) for schema in schemas)
    for version in (f"1.{minor}.0" for minor in minors if minor >= OLDEST_KUBERNETES):
        status, text = output(find("pypi:kubernetes-validate"), "--strict", "-k", version,
                              HERE / "kubernetes.yaml")
        check(f"kubernetes.yaml is valid for {version}",
              status == 0 and text.count("passed") == text.count("INFO") == 4, text)
    check("kubernetes.yaml is validated", OLDEST_KUBERNETES in minors, minors)
    by_kind = {document["kind"]: document for document in documents("kubernetes.yaml")}
    deployment, service = by_kind["Deployment"], by_kind["Service"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selectors = [deployment["spec"]["selector"]["matchLabels"], service["spec"]["selector"],
                 by_kind["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]]
    check("kubernetes.yaml: every selector finds the pods",
          all(selector == labels for selector in selectors), selectors)
    target = by_kind["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    check("kubernetes.yaml: the autoscaler finds the deployment",
          target == {"apiVersion": deployment["apiVersion"], "kind": deployment["kind"],
                     "name": deployment["metadata"]["name"]}, target)
    pod = deployment["spec"]["template"]["spec"]
    [container], [volume] = pod["containers"], pod["volumes"]
    [port], [mount] = container["ports"], container["volumeMounts"]
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    check("kubernetes.yaml: the ports and volumes fit",
          str(port["containerPort"]) == variables["API_PORT"] and volume["name"] == mount["name"]
          and service["spec"]["ports"][0]["targetPort"] == port["name"], container)
    probes = [container[name] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    check("kubernetes.yaml: only readiness asks over HTTP, and /healthz",
          [probe.get("tcpSocket") for probe in probes] == [{"port": port["name"]}] * 2 + [None]
          and probes[2]["httpGet"] == {"path": "/healthz", "port": port["name"]}, probes)
    version = pathlib.PurePath(variables["JWT_SECRET_FILE"]).name
    check_start("kubernetes.yaml", binary, variables, folder, f"{mount['mountPath']}/{version}")


def check_compose(binary, folder):
    status, text = output("docker-compose", "--file", HERE / "compose.yaml", "config", "--quiet")
    check("compose.yaml is valid", status == 0, text)
    [compose] = documents("compose.yaml")
    [service] = compose["services"].values()
    [secret] = service["secrets"]
    check("compose.yaml: the secret is defined, the image built from here",
          secret in compose["secrets"]
          and (HERE / service["build"] / "Dockerfile").resolve().is_file(), compose)
    check_start("compose.yaml", binary, dict(service["environment"]), folder,
                f"/run/secrets/{secret}")


def check_systemd(binary, folder):
    unit = folder / "resource-server.service"
    text = (HERE / unit.name).read_text()
    unit.write_text(text.replace("/usr/local/bin/resource-server", binary))
    status, printed = output("systemd-analyze", "verify", unit)
    check("resource-server.service: systemd understands it", status == 0 and not printed, printed)
    status, printed = output("systemd-analyze", "security", "--offline=true", unit)
    exposure = re.search("exposure level for .*: ([0-9.]+)", printed)
    check(f"resource-server.service: the exposure is at most {MAX_EXPOSURE}",
          exposure and float(exposure[1]) <= MAX_EXPOSURE, printed[-200:])
    variables = dict(re.findall(r"([A-Z_]+)=(\S+)", re.search("^Environment=(.*)$", text, re.M)[1]))
    credential = re.search("^LoadCredential=([^:]+):", text, re.M)[1]
    check_start(unit.name, binary, variables, folder, f"%d/{credential}")


def main():
    binary = server_binary()
    with tempfile.TemporaryDirectory(prefix="manifests-") as folder:
        for run, *programs in ((check_kubernetes, "pypi:kubernetes-validate"),
                               (check_compose, "docker-compose", "pypi:kubernetes-validate"),
                               (check_systemd, "systemd-analyze")):
            if missing := [program for program in programs if not find(program)]:
                skip(run.__name__.removeprefix("check_"), f"{missing} not installed")
            else:
                run(binary, pathlib.Path(folder))
    finish()


if __name__ == "__main__":
    main()
