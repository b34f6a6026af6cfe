{{/* What the Pods of all components share, so that each meets the restricted Pod Security Standard. */}}

{{/* The security context of a Pod. */}}
{{- define "auditor.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* The security context of a container. */}}
{{- define "auditor.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Where Pods may run, and with whose credentials their image is pulled. */}}
{{- define "auditor.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A number or text as it was written: Helm may have made a float of a large number. */}}
{{- define "auditor.text" -}}
{{- if kindIs "float64" . }}{{ printf "%.0f" . }}{{ else }}{{ . }}{{ end -}}
{{- end -}}

{{/* The metadata of the Pods of a long-running component. Takes a list: root, component. Its labels have no version, so
     that an upgrade of the chart alone restarts nothing. */}}
{{- define "auditor.podMetadata" -}}
{{- $root := index . 0 -}}
{{- $labels := fromYaml (include "auditor.selectorLabels" .) -}}
annotations:
  {{- merge (dict "kubectl.kubernetes.io/default-container" "kubewitness") ($root.Values.podAnnotations | default dict) | toYaml | nindent 2 }}
labels:
  {{- merge $labels ($root.Values.podLabels | default dict) | toYaml | nindent 2 }}
{{- end -}}

{{/* The options that both programs have. */}}
{{- define "auditor.commonOptions" -}}
- --config=/etc/kubewitness/config/kubewitness.yaml
- --data-dir=/var/lib/kubewitness
- --console-host=0.0.0.0
- --console-port=8080
- --secret={{ include "auditor.fullname" . }}
- --retention-days={{ include "auditor.text" .Values.retention.days }}
- --retention-size={{ include "auditor.text" .Values.retention.size }}
- --log-level={{ .Values.log.level }}
- --log-format={{ .Values.log.format }}
{{- end -}}

{{/* The variables of both programs. */}}
{{- define "auditor.environment" -}}
env:
  # For the commands that people run here with `kubectl exec`: `entries` and `deliveries` find the journal by it.
  - name: KUBEWITNESS_DATA_DIR
    value: /var/lib/kubewitness
  {{- if include "auditor.peers" . }}
  # By which a replica knows itself among --console-peers.
  - name: KUBEWITNESS_CONSOLE_NAME
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
  {{- end }}
  {{- with .Values.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.envFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The probes of both programs: a journal that is migrated may take minutes before it starts. */}}
{{- define "auditor.probes" -}}
startupProbe:
  httpGet: {path: /livez, port: console}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 150
livenessProbe:
  httpGet: {path: /livez, port: console}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: console}
  periodSeconds: 3
  timeoutSeconds: 5
  failureThreshold: 2
{{- end -}}

{{/* The mounts of both programs. */}}
{{- define "auditor.mounts" -}}
- name: config
  mountPath: /etc/kubewitness/config
  readOnly: true
- name: data
  mountPath: /var/lib/kubewitness
- name: tmp
  mountPath: /tmp
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The volumes of both programs; that of the journal is a claim where it is kept. */}}
{{- define "auditor.volumes" -}}
# As a whole, never by subPath: the program follows the file when the ConfigMap changes.
- name: config
  configMap:
    name: {{ include "auditor.fullname" . }}
{{- if not .Values.persistence.enabled }}
- name: data
  emptyDir:
    sizeLimit: {{ include "auditor.text" .Values.persistence.size | quote }}
{{- end }}
- name: tmp
  emptyDir: {}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The console's token alone, for those who ask the console; absent until a server has made it. */}}
{{- define "auditor.tokenVolume" -}}
- name: secret
  secret:
    secretName: {{ include "auditor.fullname" . }}
    optional: true
    items:
      - key: console-token
        path: console-token
{{- end -}}

{{/* The claims of a component's StatefulSet. Takes a list: root, component. Cannot change while the StatefulSet exists,
     so that their labels have no version. */}}
{{- define "auditor.claims" -}}
{{- $root := index . 0 -}}
{{- with $root.Values.persistence }}
{{- if .enabled }}
{{- if eq .whenDeleted "Delete" }}
persistentVolumeClaimRetentionPolicy:
  whenDeleted: Delete
  whenScaled: Retain
{{- end }}
volumeClaimTemplates:
  - metadata:
      name: data
      labels:
        {{- include "auditor.selectorLabels" (list $root (index $ 1)) | nindent 8 }}
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .storageClassName }}
      storageClassName: {{ . | quote }}
      {{- end }}
      resources:
        requests:
          storage: {{ include "auditor.text" .size | quote }}
{{- end }}
{{- end }}
{{- end -}}
