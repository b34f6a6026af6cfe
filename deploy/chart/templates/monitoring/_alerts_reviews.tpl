{{/* Alerts on what reaches the auditor. API servers count what does not: the auditor cannot. */}}
{{- define "auditor.alerts.reviews" -}}
{{- $name := include "auditor.fullname" . -}}
{{- $webhook := include "auditor.webhookSeries" . -}}
{{- $failedOpen := printf "apiserver_admission_webhook_fail_open_count{%s}" $webhook -}}
- alert: KubewitnessReviewsFailedOpen
  expr: {{ include "auditor.grown" (list $failedOpen "10m") }}
  for: 0m
  labels:
    severity: warning
  annotations:
    summary: Changes passed without being recorded.
    description: >-
      In the last 10 minutes an API server could not show about {{`{{ $value | printf "%.0f" }}`}} changes to the auditor,
      and let them pass (failurePolicy Ignore). They are not in the ledger. With one replica that is what a restart costs.
      Look whether the Pods are ready, and what /readyz says:
      kubectl -n {{ .Release.Namespace }} get pods; kubectl -n {{ .Release.Namespace }} logs {{ $name }}-0
- alert: KubewitnessReviewsFailingOpen
  expr: {{ include "auditor.grown" (list $failedOpen "5m") }}
  for: 10m
  labels:
    severity: critical
  annotations:
    summary: Changes have passed without being recorded for 10 minutes.
    description: >-
      API servers do not reach the auditor, or do not trust its certificate; what is changed now is not in the ledger. The log
      of the API server says why (failed calling webhook). Look at the Pods, at the endpoints of the Service, and whether a
      firewall lets the control plane reach port 10250 of the Pods:
      kubectl -n {{ .Release.Namespace }} get pods,endpoints; kubectl describe validatingwebhookconfiguration {{ $name }}
- alert: KubewitnessReviewsRejected
  expr: {{ include "auditor.grown" (list (printf "apiserver_admission_webhook_rejection_count{%s}" $webhook) "10m") }}
  for: 0m
  labels:
    severity: critical
  annotations:
    summary: Changes are refused because of the auditor's webhook.
    description: >-
      The auditor allows everything. {{ if eq .Values.webhook.failurePolicy "Fail" -}}
      With webhook.failurePolicy Fail a change is refused when no answer comes ({{`{{ $labels.error_type }}`}}). Look whether
      the Pods are ready; write webhook.failurePolicy Ignore and run helm upgrade to let changes pass meanwhile.
      {{- else -}}
      With webhook.failurePolicy Ignore no change is refused for want of an answer, so that something else answers in its
      place, or the policy was changed by hand ({{`{{ $labels.error_type }}`}}). Look at what runs behind the Service:
      kubectl get validatingwebhookconfiguration {{ $name }} -o yaml
      {{- end }}
- alert: KubewitnessReviewsSlow
  expr: >-
    histogram_quantile(0.99, sum by (le, cluster)
    (rate(apiserver_admission_webhook_admission_duration_seconds_bucket{ {{- $webhook -}} }[10m]))) > 0.5
  for: 15m
  labels:
    severity: warning
  annotations:
    summary: One change in a hundred waits longer than half a second for the auditor.
    description: >-
      That is the time that API servers measure, of which kubewitness_review_duration_seconds is the auditor's part. Where that
      is slow, too, the disk of the journal is (kubewitness_commit_duration_seconds), or the Pod has too little CPU. Where it
      is not, it is the network between API server and Pods. After {{ .Values.webhook.timeoutSeconds }} s the API server
      gives up.
- alert: KubewitnessReviewsSkipped
  expr: {{ include "auditor.grown" (list (printf "apiserver_admission_match_condition_evaluation_errors_total{%s}" $webhook) "10m") }}
  for: 0m
  labels:
    severity: critical
  annotations:
    summary: A match condition of the webhook fails, so that changes are not shown to the auditor.
    description: >-
      An API server could not evaluate a condition that keeps noise away, and with failurePolicy Ignore it then does not call
      the webhook ({{`{{ $labels.operation }}`}}). Write webhook.noise rules, or none, and run helm upgrade. If nobody changed
      the conditions by hand, it is a fault of the chart.
{{- $shown := and (eq .Values.webhook.scope "everything") (has "UPDATE" .Values.webhook.operations) (empty .Values.webhook.excludedNamespaces) }}
{{- if $shown }}
- alert: KubewitnessReviewsMissing
  expr: >-
    (sum by (cluster) (increase(apiserver_request_total{group="apps",resource="deployments",subresource="",verb=~"PUT|PATCH|APPLY",dry_run="",code=~"2.."}[1h])) > 0)
    unless on () (sum(increase(kubewitness_review_duration_seconds_count{ {{- include "auditor.series" . -}} }[1h])) > 0)
    unless on () absent(kubewitness_build_info{ {{- include "auditor.series" . -}} })
  for: 15m
  labels:
    severity: warning
  annotations:
    summary: Deployments were changed for an hour, and the auditor was shown nothing.
    description: >-
      API servers took changes of Deployments and called no webhook for them. Unless all of them were in the namespace
      {{ .Release.Namespace }}, which is left out, they are missing in the ledger, and none is counted as failed open: the webhook
      configuration is gone, or its rules or selectors were changed. Compare, and put it back with helm upgrade:
      kubectl get validatingwebhookconfiguration {{ $name }} -o yaml
{{- end }}
- alert: KubewitnessDown
  expr: absent(kubewitness_build_info{ {{- include "auditor.series" . }},pod=~"{{ $name }}-[0-9]+"})
  for: 5m
  labels:
    severity: critical
  annotations:
    summary: No metrics come from any replica of the auditor.
    description: >-
      Either none runs, and changes pass without being recorded, or Prometheus does not reach the port console (8080) of the
      Pods: a NetworkPolicy, or a ServiceMonitor that is not selected. Look first whether Pods are ready:
      kubectl -n {{ .Release.Namespace }} get statefulset,pods
{{- end -}}
