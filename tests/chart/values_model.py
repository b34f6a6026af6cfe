"""The model of the chart's values, but for the sections that are the program's own: types, words and ranges."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

PodPart = dict[str, Any]
"""A part of a Pod, which the API server checks."""

Labels = dict[str, str]
Size = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)? ?([kKMGTPkmgtp]i?)?[Bb]?$")] | Annotated[int, Field(ge=0)]
Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(k|[KMGTP]i?)?$")] | Annotated[int, Field(ge=1)]
DnsName = Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$", max_length=253)]
Namespace = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
Subresource = Annotated[str, Field(pattern=r"^(\*|[a-z0-9.-]+)/(\*|[a-z0-9-]+)$")]


class _Values(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)


class Image(_Values):
    repository: Annotated[str, Field(min_length=1)]
    tag: str
    digest: Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64})?$")]
    pull_policy: Literal["IfNotPresent", "Always", "Never"]


class Log(_Values):
    level: Literal["debug", "info", "warning", "error"]
    format: Literal["json", "console"]


class Retention(_Values):
    days: Annotated[float, Field(ge=0)]
    size: Size


class Persistence(_Values):
    enabled: bool
    size: Quantity
    storage_class_name: DnsName
    when_deleted: Literal["Retain", "Delete"]


class Webhook(_Values):
    operations: Annotated[list[Literal["UPDATE", "CREATE", "DELETE", "CONNECT"]], Field(min_length=1)]
    scope: Literal["everything", "playbooks"]
    subresources: list[Subresource]
    noise: Literal["auto", "matchConditions", "rules", "none"]
    excluded_namespaces: list[Namespace]
    failure_policy: Literal["Ignore", "Fail"]
    timeout_seconds: Annotated[int, Field(ge=1, le=30)]
    annotations: Labels


class ManagedCertificates(_Values):
    leaf_seconds: Annotated[int, Field(ge=30)]
    authority_seconds: Annotated[int, Field(ge=60)]
    overlap_seconds: Annotated[int, Field(ge=0)]


class IssuerReference(_Values):
    name: DnsName
    kind: str
    group: str


class CertManager(_Values):
    issuer_ref: IssuerReference


class ProvidedCertificates(_Values):
    secret_name: DnsName
    ca_bundle: str


class Certificates(_Values):
    mode: Literal["managed", "certManager", "provided"]
    managed: ManagedCertificates
    cert_manager: CertManager
    provided: ProvidedCertificates


class Watcher(_Values):
    enabled: bool
    separate: bool
    resources: PodPart


class Ingress(_Values):
    enabled: bool
    class_name: DnsName
    annotations: Labels
    host: Annotated[str, Field(pattern=r"^(\*\.)?([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$")]
    tls_secret_name: DnsName


class KubernetesAuth(_Values):
    enabled: bool
    audience: Annotated[str, Field(pattern=r"^\S*$")]


class Console(_Values):
    requeue: bool
    users_secret_name: DnsName
    kubernetes_auth: KubernetesAuth
    ingress: Ingress


class ServiceAccount(_Values):
    annotations: Labels


class PodDisruptionBudget(_Values):
    enabled: bool


class NetworkPolicy(_Values):
    enabled: bool
    console: list[PodPart]


class ServiceMonitor(_Values):
    enabled: bool
    labels: Labels
    interval: Annotated[str, Field(pattern=r"^([0-9]+(ms|s|m|h))+$")]


class Extra(_Values):
    enabled: bool
    labels: Labels


class HelmTest(_Values):
    namespace: Namespace


class Values(_Values):
    image: Image
    image_pull_secrets: list[DnsName]
    fullname_override: DnsName
    replicas: Annotated[int, Field(ge=1)]
    env: list[PodPart]
    env_from: list[PodPart]
    log: Log
    retention: Retention
    persistence: Persistence
    webhook: Webhook
    certificates: Certificates
    watcher: Watcher
    console: Console
    resources: PodPart
    pod_annotations: Labels
    pod_labels: Labels
    node_selector: Labels
    tolerations: list[PodPart]
    affinity: PodPart
    topology_spread_constraints: list[PodPart]
    priority_class_name: DnsName
    extra_volumes: list[PodPart]
    extra_volume_mounts: list[PodPart]
    service_account: ServiceAccount
    pod_disruption_budget: PodDisruptionBudget
    network_policy: NetworkPolicy
    service_monitor: ServiceMonitor
    prometheus_rule: Extra
    dashboard: Extra
    tests: HelmTest
