{{/* Alerts on what people are told. */}}
{{- define "auditor.alerts.deliveries" -}}
{{- $series := include "auditor.series" . -}}
{{- $dead := printf "kubewitness_deliveries_dead{%s}" $series -}}
- alert: KubewitnessDeliveriesDead
  expr: {{ $dead }} > min_over_time({{ $dead }}[30m])
  for: 0m
  labels:
    severity: warning
  annotations:
    summary: Notifications to the sink {{`{{ $labels.sink }}`}} were given up.
    description: >-
      {{`{{ $value | printf "%.0f" }}`}} are dead in {{`{{ $labels.pod }}`}}, more than half an hour ago: the receiver refused
      them, or took none for hours. Their changes are in the ledger. See why, mend it, and send them again:
      {{ include "auditor.inPod" . }} deliveries list --state dead;
      {{ include "auditor.inPod" . }} deliveries retry --sink {{`{{ $labels.sink }}`}}
- alert: KubewitnessDeliveriesLate
  # Half an hour, beyond what the grouping of sinksConfig keeps waiting on purpose.
  expr: kubewitness_deliveries_oldest_age_seconds{ {{- $series -}} } > {{ add 1800 (include "auditor.longestGrouping" . | int64) }}
  for: 5m
  labels:
    severity: warning
  annotations:
    summary: Notifications to the sink {{`{{ $labels.sink }}`}} are late.
    description: >-
      The oldest in {{`{{ $labels.pod }}`}} waits for {{`{{ $value | humanizeDuration }}`}}. The receiver is down or asks for
      pauses; each is tried for about two hours, and then given up. The last error of each:
      {{ include "auditor.inPod" . }} deliveries list --state pending
- alert: KubewitnessSinkDown
  expr: kubewitness_sink_up{ {{- $series -}} } == 0
  for: 10m
  labels:
    severity: warning
  annotations:
    summary: The sink {{`{{ $labels.sink }}`}} does not work.
    description: >-
      It is left out of the configuration in effect of {{`{{ $labels.pod }}`}}, or could not be made, such as for a variable of
      `env` that is not set; nobody is told by it, and the other sinks go on. /readyz says why, under sinks:
      kubectl get --raw
      /api/v1/namespaces/{{ .Release.Namespace }}/pods/{{`{{ $labels.pod }}`}}:8080/proxy/readyz
{{- end -}}
