"""The kinds that Kubernetes itself serves, so that playbooks can name them and typing errors can be told."""

from __future__ import annotations

from typing import Final

import msgspec


class Kind(msgspec.Struct, frozen=True):
    """A built-in kind: its plural resource name, its API groups (newest first; `""` is core), and its reach."""

    kind: str
    resource: str
    groups: tuple[str, ...]
    namespaced: bool = True


_NAMESPACED: Final = """
    Binding bindings core
    ConfigMap configmaps core
    ControllerRevision controllerrevisions apps
    CompositePodGroup compositepodgroups scheduling.k8s.io
    CronJob cronjobs batch
    CSIStorageCapacity csistoragecapacities storage.k8s.io
    DaemonSet daemonsets apps,extensions
    Deployment deployments apps,extensions
    Endpoints endpoints core
    EndpointSlice endpointslices discovery.k8s.io
    Event events events.k8s.io,core
    Eviction evictions lifecycle.k8s.io
    EvictionRequest evictionrequests lifecycle.k8s.io
    HorizontalPodAutoscaler horizontalpodautoscalers autoscaling
    Ingress ingresses networking.k8s.io,extensions
    Job jobs batch
    Lease leases coordination.k8s.io
    LeaseCandidate leasecandidates coordination.k8s.io
    LimitRange limitranges core
    LocalSubjectAccessReview localsubjectaccessreviews authorization.k8s.io
    NetworkPolicy networkpolicies networking.k8s.io,extensions
    PersistentVolumeClaim persistentvolumeclaims core
    Pod pods core
    PodCertificateRequest podcertificaterequests certificates.k8s.io
    PodDisruptionBudget poddisruptionbudgets policy
    PodGroup podgroups scheduling.k8s.io
    PodSchedulingContext podschedulingcontexts resource.k8s.io
    PodTemplate podtemplates core
    ReplicaSet replicasets apps,extensions
    ReplicationController replicationcontrollers core
    ResourceClaim resourceclaims resource.k8s.io
    ResourceClaimTemplate resourceclaimtemplates resource.k8s.io
    ResourceQuota resourcequotas core
    Role roles rbac.authorization.k8s.io
    RoleBinding rolebindings rbac.authorization.k8s.io
    Secret secrets core
    Service services core
    ServiceAccount serviceaccounts core
    StatefulSet statefulsets apps
    Workload workloads scheduling.k8s.io
"""

_CLUSTER_WIDE: Final = """
    APIService apiservices apiregistration.k8s.io
    CertificateSigningRequest certificatesigningrequests certificates.k8s.io
    ClusterCIDR clustercidrs networking.k8s.io
    ClusterRole clusterroles rbac.authorization.k8s.io
    ClusterRoleBinding clusterrolebindings rbac.authorization.k8s.io
    ClusterTrustBundle clustertrustbundles certificates.k8s.io
    ComponentStatus componentstatuses core
    CSIDriver csidrivers storage.k8s.io
    CSINode csinodes storage.k8s.io
    CustomResourceDefinition customresourcedefinitions apiextensions.k8s.io
    DeviceClass deviceclasses resource.k8s.io
    DeviceTaintRule devicetaintrules resource.k8s.io
    FlowSchema flowschemas flowcontrol.apiserver.k8s.io
    IngressClass ingressclasses networking.k8s.io
    IPAddress ipaddresses networking.k8s.io
    MutatingAdmissionPolicy mutatingadmissionpolicies admissionregistration.k8s.io
    MutatingAdmissionPolicyBinding mutatingadmissionpolicybindings admissionregistration.k8s.io
    MutatingWebhookConfiguration mutatingwebhookconfigurations admissionregistration.k8s.io
    Namespace namespaces core
    Node nodes core
    PersistentVolume persistentvolumes core
    PriorityClass priorityclasses scheduling.k8s.io
    PriorityLevelConfiguration prioritylevelconfigurations flowcontrol.apiserver.k8s.io
    ResourcePoolStatusRequest resourcepoolstatusrequests resource.k8s.io
    ResourceSlice resourceslices resource.k8s.io
    RuntimeClass runtimeclasses node.k8s.io
    SelfSubjectAccessReview selfsubjectaccessreviews authorization.k8s.io
    SelfSubjectReview selfsubjectreviews authentication.k8s.io
    SelfSubjectRulesReview selfsubjectrulesreviews authorization.k8s.io
    ServiceCIDR servicecidrs networking.k8s.io
    StorageClass storageclasses storage.k8s.io
    StorageVersion storageversions internal.apiserver.k8s.io
    StorageVersionMigration storageversionmigrations storagemigration.k8s.io
    SubjectAccessReview subjectaccessreviews authorization.k8s.io
    TokenReview tokenreviews authentication.k8s.io
    ValidatingAdmissionPolicy validatingadmissionpolicies admissionregistration.k8s.io
    ValidatingAdmissionPolicyBinding validatingadmissionpolicybindings admissionregistration.k8s.io
    ValidatingWebhookConfiguration validatingwebhookconfigurations admissionregistration.k8s.io
    VolumeAttachment volumeattachments storage.k8s.io
    VolumeAttributesClass volumeattributesclasses storage.k8s.io
"""


def _kind(row: str, *, namespaced: bool) -> Kind:
    kind, resource, groups = row.split()
    return Kind(kind, resource, tuple(groups.replace("core", "").split(",")), namespaced)


def _rows(table: str, *, namespaced: bool) -> tuple[Kind, ...]:
    return tuple(_kind(row, namespaced=namespaced) for row in table.strip().splitlines())


KINDS: Final = _rows(_NAMESPACED, namespaced=True) + _rows(_CLUSTER_WIDE, namespaced=False)
"""Every kind of Kubernetes up to 1.37 that the API server can show to a webhook, and those of older releases."""

BY_NAME: Final = {kind.kind.lower(): kind for kind in KINDS}
BY_RESOURCE: Final = {(group, kind.resource): kind for kind in KINDS for group in kind.groups}

_BY_WORD: Final = {word: kind.kind for kind in KINDS for word in (kind.resource, kind.kind.lower())}

NOISE: Final = frozenset(
    {
        ("", "bindings"),
        ("", "endpoints"),
        ("", "events"),
        ("", "pods/binding"),
        ("", "serviceaccounts/token"),
        ("authentication.k8s.io", "selfsubjectreviews"),
        ("authentication.k8s.io", "tokenreviews"),
        ("authorization.k8s.io", "localsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectaccessreviews"),
        ("authorization.k8s.io", "selfsubjectrulesreviews"),
        ("authorization.k8s.io", "subjectaccessreviews"),
        ("coordination.k8s.io", "leasecandidates"),
        ("coordination.k8s.io", "leases"),
        ("discovery.k8s.io", "endpointslices"),
        ("events.k8s.io", "events"),
    }
)
"""What a cluster writes all the time without anybody having changed anything: (group, resource[/subresource])."""


def kind_of(group: str, resource: str) -> str | None:
    """Return the kind that a plural resource name means, for `deployments/scale` the Deployment; None if unknown."""
    kind = BY_RESOURCE.get((group, resource.partition("/")[0]))
    return None if kind is None else kind.kind


def canonical(word: str) -> str:
    """Return the kind that people mean by `Deployment`, `deployment` or `deployments`; an unknown word stays."""
    return _BY_WORD.get(word.lower(), word)


def is_noise(group: str, resource: str, subresource: str) -> bool:
    """Say whether this is upkeep of the cluster, which is neither recorded nor told unless asked for by name."""
    return (group, resource) in NOISE or (group, f"{resource}/{subresource}") in NOISE
