{{/* How long before the end of a certificate its renewal is overdue, in seconds. Managed ones are renewed when a third of
     their life is left, cert-manager's at its renewBefore: half of that is gone. Provided ones are renewed by people. */}}
{{- define "auditor.certificateOverdue" -}}
{{- if eq .Values.certificates.mode "managed" -}}
{{- div (int64 .Values.certificates.managed.leafSeconds) 6 -}}
{{- else if eq .Values.certificates.mode "certManager" -}}
{{- mul 1800 (include "auditor.certificateRenewalHours" . | int64) -}}
{{- else -}}
{{- mul 14 86400 -}}
{{- end -}}
{{- end -}}

{{/* Alerts on what API servers trust. A gauge of 0 is one that was not set: a watcher serves no certificate. */}}
{{- define "auditor.alerts.certificates" -}}
{{- $series := include "auditor.series" . -}}
{{- $name := include "auditor.fullname" . -}}
- alert: KubewitnessCertificateExpires
  expr: (kubewitness_certificate_expiry_timestamp_seconds{ {{- $series -}} } > 0) - time() < {{ include "auditor.certificateOverdue" . }}
  for: 1m
  labels:
    severity: critical
  annotations:
    summary: The certificate that the auditor serves ends soon.
    description: >-
      That of {{`{{ $labels.pod }}`}} in {{`{{ $value | humanizeDuration }}`}}; then API servers do not call any more, and changes pass
      without being recorded. {{ if eq .Values.certificates.mode "managed" -}}
      The replica should have renewed it: its log and /readyz say why not, under certificate:
      kubectl -n {{ .Release.Namespace }} logs {{`{{ $labels.pod }}`}}
      {{- else if eq .Values.certificates.mode "certManager" -}}
      cert-manager should have renewed it: kubectl -n {{ .Release.Namespace }} describe certificate {{ $name }}-tls
      {{- else -}}
      Put a new one into the Secret {{ .Values.certificates.provided.secretName }}; it is served as soon as the Pod sees it, a minute
      or two later. If another authority signed it, add that to certificates.provided.caBundle first.
      {{- end }}
{{- if eq .Values.certificates.mode "managed" }}
- alert: KubewitnessAuthorityExpires
  expr: (kubewitness_authority_expiry_timestamp_seconds{ {{- $series -}} } > 0) - time() < {{ div (int64 .Values.certificates.managed.authoritySeconds) 6 }}
  for: 1m
  labels:
    severity: critical
  annotations:
    summary: The authority that signs the auditor's certificates ends soon.
    description: >-
      In {{`{{ $value | humanizeDuration }}`}}. It should have been replaced when a third of its life was left. The log says what keeps
      {{`{{ $labels.pod }}`}} from writing the Secret {{ $name }} or the webhook configuration; helm upgrade restores the rights that
      it needs. To begin at once: kubectl -n {{ .Release.Namespace }} annotate secret {{ $name }} kubewitness/rotate=now
- alert: KubewitnessCaBundleRepairs
  expr: sum by (namespace, cluster) (increase(kubewitness_ca_bundle_repairs_total{ {{- $series -}} }[1h])) > 3
  for: 5m
  labels:
    severity: warning
  annotations:
    summary: Something keeps overwriting the caBundle of the auditor's webhook.
    description: >-
      The auditor put it back {{`{{ $value | printf "%.0f" }}`}} times in an hour; in between, API servers do not trust it, and changes
      pass without being recorded. The log names who wrote it. Tell a GitOps tool to leave caBundle alone, and take
      cert-manager's annotation away:
      kubectl get validatingwebhookconfiguration {{ $name }} -o yaml --show-managed-fields
{{- end }}
{{- end -}}
