{{/* What a container has that runs one command and ends. */}}
{{- define "auditor.commandContainer" -}}
resources:
  requests: {cpu: 10m, memory: 96Mi}
  limits: {memory: 256Mi}
securityContext:
  {{- include "auditor.securityContext" . | nindent 2 }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
{{- end -}}
