{{/* What only the server has. */}}

{{/* The options of `kubewitness serve` beside those that the watcher has, too. */}}
{{- define "auditor.serveOptions" -}}
{{- $name := include "auditor.fullname" . -}}
- --webhook-configuration={{ $name }}
- --tls-service={{ $name }}
{{- if include "auditor.tlsSecretName" . }}
- --tls-source=files
- --tls-dir=/etc/kubewitness/tls
{{- else }}
- --tls-source=secret
{{- with .Values.certificates.managed }}
- --tls-leaf-seconds={{ include "auditor.text" .leafSeconds }}
- --tls-authority-seconds={{ include "auditor.text" .authoritySeconds }}
- --tls-overlap-seconds={{ include "auditor.text" .overlapSeconds }}
{{- end }}
{{- end }}
{{- with include "auditor.peers" . }}
- --console-peers={{ . }}
{{- end }}
{{- with .Values.console }}
{{- if .usersSecretName }}
- --console-users-file=/etc/kubewitness/users/users
{{- end }}
{{- if .kubernetesAuth.enabled }}
- --console-kubernetes-auth
{{- with .kubernetesAuth.audience }}
- {{ printf "--console-kubernetes-audience=%s" . | quote }}
{{- end }}
{{- end }}
{{- if .requeue }}
- --console-requeue
{{- end }}
{{- end }}
{{- if include "auditor.isEmbedded" . }}
- --watch
- --lease-name={{ $name }}-watcher
{{- end }}
{{- end -}}

{{/* How replicas keep away from each other: as the values say, or else by node and zone where they can. */}}
{{- define "auditor.spreading" -}}
{{- $labels := include "auditor.selectorLabels" (list . "server") -}}
{{- if .Values.affinity }}
affinity:
  {{- toYaml .Values.affinity | nindent 2 }}
{{- else if gt (int64 .Values.replicas) 1 }}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- $labels | nindent 14 }}
{{- end }}
{{- if .Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml .Values.topologySpreadConstraints | nindent 2 }}
{{- else if gt (int64 .Values.replicas) 1 }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: topology.kubernetes.io/zone
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- $labels | nindent 8 }}
{{- end }}
{{- end -}}
