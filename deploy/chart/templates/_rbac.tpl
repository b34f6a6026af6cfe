{{/* What the service accounts may do, by name wherever the API allows it. */}}

{{/* The Secret of the installation, whose keys the program makes. It exists, so that nobody needs `create`. Followed where
     an authority is in it that changes. Takes a list: root, component. */}}
{{- define "auditor.secretRules" -}}
{{- $root := index . 0 -}}
{{- $isFollowed := and (eq (index . 1) "server") (eq $root.Values.certificates.mode "managed") -}}
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ include "auditor.fullname" $root }}]
  verbs: [get, {{ if $isFollowed }}list, watch, {{ end }}update]
{{- end -}}

{{/* Who of the watchers leads, and which failures were told. */}}
{{- define "auditor.leaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames:
    - {{ include "auditor.fullname" . }}-watcher
    - {{ include "auditor.fullname" . }}-watcher-failed-jobs
  verbs: [get, update]
{{- end -}}

{{/* What the watcher reads: which Jobs fail, how their Pods ended, what those wrote, what happened to both, and where a
     Job comes from. */}}
{{- define "auditor.watcherRules" -}}
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch]
- apiGroups: [batch]
  resources: [cronjobs]
  verbs: [get]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [""]
  resources: [events]
  verbs: [list]
{{- end -}}

{{/* What only some configurations need: the labels of namespaces, and Events that a sink makes. */}}
{{- define "auditor.configuredRules" -}}
{{- if contains "\"namespace_labels\":" (toJson (pick .Values "customPlaybooks" "sinksConfig" "record")) }}
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list, watch]
{{- end }}
{{- if contains "\"kubernetes_event_sink\":" (toJson .Values.sinksConfig) }}
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}
{{- end -}}
