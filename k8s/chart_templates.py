"""The templates of the Helm chart, made of the objects of the overlays `prod` and `external`.

What both overlays have is written once. The lines of one of them are under the condition `stores.inCluster`. Only what the
values of the chart set is an expression.
"""

import copy
import difflib
import json
import re

HEADER = "{{- /* Rendered by k8s/render from k8s/overlays. Change the overlays, or k8s/chart_templates.py, instead. */ -}}\n"
HOST = "api.bigtech-chat.local"
FILES_HOST = "files.bigtech-chat.local"
OURS = re.compile(r"^bigtech-((?:user|friend|chat)-service|web):latest$")
# Variables whose values are those of the ConfigMap, without a reference to it.
COPIED_SETTINGS = ["KAFKA_BOOTSTRAP_SERVERS"]
TOPICS = 'include "bigtech-chat.topics" .'
STORAGE_CLASS = "STORAGE-CLASS"
STORE_PORTS = {3306: "mysql", 6379: "redis", 9092: "kafka", 27017: "mongodb", 443: "files"}


class Text:
    """Writes data as YAML in which some values are expressions."""

    def __init__(self, dump):
        self.dump = dump
        self.expressions = []

    def expression(self, code):
        self.expressions.append(code)
        return f"EXPRESSION-{len(self.expressions) - 1}-"

    def write(self, data):
        text = self.dump(data).replace("{{", '{{ "{{" }}')
        text = text.replace(HOST, "{{ .Values.host }}").replace(FILES_HOST, "{{ .Values.files.host }}")
        text = re.sub(r"\bbigtech-chat-secrets\b", "{{ .Values.secretName }}", text)
        text = re.sub(r"\bstore-authorities\b", "{{ .Values.authoritiesSecret }}", text)
        # Without a class, the field is left out.
        text = re.sub(
            rf"^( +)storageClassName: {STORAGE_CLASS}\n",
            r"\1{{- with .Values.storage.className }}\n\1storageClassName: {{ . }}\n\1{{- end }}\n",
            text,
            flags=re.MULTILINE,
        )
        return re.sub(r"EXPRESSION-(\d+)-", lambda it: "{{ " + self.expressions[int(it[1])] + " }}", text)


def value(path, *keys):
    """The value of a path such as `resources`, and of keys, which may contain hyphens."""
    return " ".join(["index .Values." + path, *(json.dumps(key) for key in keys)])


def template(o, text, configs):
    """The object with expressions for what the values set."""
    o = copy.deepcopy(o)
    metadata, kind = o["metadata"], o["kind"]
    app = metadata.get("labels", {}).get("app")
    metadata["namespace"] = text.expression(".Release.Namespace")
    if kind == "ConfigMap" and metadata["name"] == "bigtech-chat-config":
        o["data"] = text.expression('include "bigtech-chat.settings" . | nindent 2')
    if kind == "ServiceAccount" and "imagePullSecrets" in o:
        o["imagePullSecrets"] = [{"name": text.expression(".Values.images.pullSecret")}]
    if kind == "HorizontalPodAutoscaler":
        for bound in ("minReplicas", "maxReplicas"):
            o["spec"][bound] = text.expression(value("autoscaling", app, bound))
    if kind == "Deployment" and app == "web":
        o["spec"]["replicas"] = text.expression(".Values.web.replicas")
    if kind == "Ingress":
        o["spec"]["ingressClassName"] = text.expression(".Values.ingress.className")
    if kind == "NetworkPolicy":
        policy(o, text)
    for claim in o["spec"].get("volumeClaimTemplates", []) if kind == "StatefulSet" else []:
        claim["spec"]["resources"]["requests"]["storage"] = text.expression(value("storage", app))
        claim["spec"]["storageClassName"] = STORAGE_CLASS
    pod = o.get("spec", {}).get("template")
    if pod:
        containers(pod["spec"], app, text)
        if "checksum/config" in pod["metadata"].get("annotations", {}):
            used = [name for name in configs if re.search(rf'"name": "{name}"', json.dumps(o["spec"]))]
            files = " ".join(f'(include (print $.Template.BasePath "/{configs[name]}") .)' for name in used)
            pod["metadata"]["annotations"]["checksum/config"] = text.expression(f"print {files} | sha256sum")
    return o


def policy(o, text):
    """The namespaces of others, and the networks and ports of managed stores."""
    managed = o["metadata"]["name"].startswith("managed-")
    namespaces = {"ingress-nginx": "ingress.namespace", "monitoring": "monitoring.namespace"}

    def walk(item):
        if isinstance(item, list):
            for each in item:
                walk(each)
        elif isinstance(item, dict):
            name = item.get("kubernetes.io/metadata.name")
            if name in namespaces:
                item["kubernetes.io/metadata.name"] = text.expression(f".Values.{namespaces[name]}")
            if managed and isinstance(item.get("port"), int):
                item["port"] = text.expression(value("stores.ports", STORE_PORTS[item["port"]]))
            if managed and "ipBlock" in json.dumps(item.get("to", [])):
                networks = "files" if o["metadata"]["name"] == "managed-files" else "stores"
                item["to"] = text.expression(f'include "bigtech-chat.networks" .Values.{networks}.networks')
            for each in item.values():
                walk(each)

    walk(o["spec"])


def containers(spec, app, text):
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        ours = OURS.match(container["image"])
        if ours:
            container["image"] = text.expression(f'include "bigtech-chat.image" (list . "{ours[1]}")')
        else:
            container["image"] = text.expression(".Values.images.mirror") + container["image"]
        if container["name"] == app and "resources" in container:
            default = json.dumps(container["resources"])
            container["resources"] = text.expression(
                f"{value('resources', app)} | default (fromJson `{default}`) | toJson"
            )
        for variable in container.get("env", []):
            if variable["name"] in COPIED_SETTINGS:
                setting = f'(include "bigtech-chat.settings" . | fromYaml).{variable["name"]} | toJson'
                variable["value"] = text.expression(setting)


def conditional(prod, external):
    """One text of those of both overlays, or of one of them and None. Lines that differ are written under a condition."""
    prod, external = ((text or "").splitlines(keepends=True) for text in (prod, external))
    merged = []
    for tag, a, b, c, d in difflib.SequenceMatcher(None, prod, external, autojunk=False).get_opcodes():
        ours, theirs = "".join(prod[a:b]), "".join(external[c:d])
        if tag == "equal":
            merged.append(ours)
        elif tag == "delete":
            merged.append(f"{{{{- if .Values.stores.inCluster }}}}\n{ours}{{{{- end }}}}\n")
        elif tag == "insert":
            merged.append(f"{{{{- if not .Values.stores.inCluster }}}}\n{theirs}{{{{- end }}}}\n")
        else:
            merged.append(f"{{{{- if .Values.stores.inCluster }}}}\n{ours}{{{{- else }}}}\n{theirs}{{{{- end }}}}\n")
    return "".join(merged)


def settings(prod, external, dump):
    """The settings of both overlays. The addresses of managed stores have no default."""
    common = {key: item for key, item in prod["data"].items() if external["data"].get(key) == item}
    stores = {key: item for key, item in prod["data"].items() if key not in common}
    text = Text(dump).write(common) + "{{- if .Values.stores.inCluster }}\n" + Text(dump).write(stores) + "{{- end }}\n"
    return f'{{{{- define "bigtech-chat.defaults" -}}}}\n{text}{{{{- end -}}}}\n'


def without_hash(o):
    """The object with the plain name of the Job, whose own name ends in a hash of its content."""
    return {**o, "metadata": {**o["metadata"], "name": "kafka-topics"}} if o["kind"] == "Job" else o


def templates(prod, external, path_of, dump):
    """The files below chart/templates, from the objects of the overlays, whose ConfigMaps have plain names."""
    overlays = [{(o["kind"], o["metadata"]["name"]): o for o in map(without_hash, each)} for each in (prod, external)]
    # The namespace exists before the chart is installed, because the Secret does.
    keys = [key for key in dict.fromkeys(key for each in overlays for key in each) if key[0] != "Namespace"]
    config = ("ConfigMap", "bigtech-chat-config")
    configs = {name: f"configmaps/{name}.yaml" for kind, name in keys if kind == "ConfigMap"}
    files = {"_settings.tpl": [settings(*(each[config] for each in overlays), dump)]}

    def written(key, part):
        """The text of a part of an object in both overlays, in which a part is a function of the object."""
        texts = []
        for each in overlays:
            text = Text(dump)
            texts.append(text.write(part(template(each[key], text, configs))) if key in each else None)
        return conditional(*texts)

    for key in keys:
        first = next(each[key] for each in overlays if key in each)
        if key[0] == "Job":
            topics = written(key, lambda o: o["spec"])
            files["_topics.tpl"] = [f'{{{{- define "bigtech-chat.topics" -}}}}\n{topics}{{{{- end -}}}}\n']
            head = written(key, lambda o: {part: o[part] for part in ("apiVersion", "kind", "metadata")})
            head = head.replace("name: kafka-topics", f"name: kafka-topics-{{{{ {TOPICS} | sha256sum | trunc 10 }}}}", 1)
            content = f"{head}spec: {{{{ {TOPICS} | nindent 2 }}}}\n"
        else:
            content = written(key, lambda o: o)
        files.setdefault(configs[key[1]] if key[0] == "ConfigMap" else path_of(first), []).append(content)
    for path, contents in files.items():
        yield f"chart/templates/{path}", HEADER + "---\n".join(contents)
