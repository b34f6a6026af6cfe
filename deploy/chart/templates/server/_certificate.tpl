{{/* How long cert-manager's certificates live, in hours, and how long before their end they are renewed. */}}
{{- define "auditor.certificateHours" -}}2160{{- end -}}
{{- define "auditor.certificateRenewalHours" -}}720{{- end -}}

{{/* The annotations of the webhook configuration; with cert-manager, also the one by which it fills the caBundle. */}}
{{- define "auditor.webhookAnnotations" -}}
{{- $annotations := deepCopy (.Values.webhook.annotations | default dict) -}}
{{- if eq .Values.certificates.mode "certManager" -}}
{{- $certificate := printf "%s/%s-tls" .Release.Namespace (include "auditor.fullname" .) -}}
{{- $annotations = set $annotations "cert-manager.io/inject-ca-from" $certificate -}}
{{- end -}}
{{- with $annotations -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}
