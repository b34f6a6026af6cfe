{{/* Alerts on what is kept of that which reached the auditor, and on the configuration that says so. */}}
{{- define "auditor.alerts.ledger" -}}
{{- $series := include "auditor.series" . -}}
- alert: KubewitnessEntriesLost
  expr: {{ include "auditor.grown" (list (printf "kubewitness_entries_unrecorded_total{%s}" $series) "10m") }}
  for: 0m
  labels:
    severity: critical
  annotations:
    summary: The auditor could not keep entries; they are lost.
    description: >-
      About {{`{{ $value | printf "%.0f" }}`}} entries of {{`{{ $labels.pod }}`}} in the last 10 minutes, for this reason:
      {{`{{ $labels.reason }}`}}. "queue full": the disk takes nothing and the memory for it is full; free space, or mend the
      volume. "refused": the database will never take the entry. "shutdown": not written when the process ended. "fault": a
      fault of the program. The log says more: kubectl -n {{ .Release.Namespace }} logs {{`{{ $labels.pod }}`}}
- alert: KubewitnessJournalWaits
  expr: kubewitness_journal_pending_age_seconds{ {{- $series -}} } > 5
  for: 1m
  labels:
    severity: critical
  annotations:
    summary: Entries wait in memory for the disk.
    description: >-
      The oldest in {{`{{ $labels.pod }}`}} for {{`{{ $value | humanizeDuration }}`}}. Changes are still allowed and answered;
      entries are lost if the process ends now, so do not restart it. Free space on the volume of the journal, or find out why
      it is slow: {{ include "auditor.inPod" . | replace "-- kubewitness" "-- df -h /var/lib/kubewitness" }}
- alert: KubewitnessJournalTooLarge
  expr: kubewitness_journal_over_limit{ {{- $series -}} } > 0
  for: 15m
  labels:
    severity: warning
  annotations:
    summary: The journal is larger than retention.size allows.
    description: >-
      Entries with a pending delivery are not forgotten, and in {{`{{ $labels.pod }}`}} too many wait. The volume fills up. Mend
      the sink that they wait for, or give up what it need not get any more:
      {{ include "auditor.inPod" . }} deliveries list --state pending
- alert: KubewitnessConfigurationRefused
  expr: kubewitness_config_last_reload_successful{ {{- $series -}} } == 0
  for: 5m
  labels:
    severity: warning
  annotations:
    summary: The changed configuration has a problem; the one before stays in effect.
    description: >-
      {{`{{ $labels.pod }}`}} did not take over the last configuration. The line and what is wrong are in the log and under config in
      /readyz; correct the values and run helm upgrade. To check the file as the Pod sees it:
      {{ include "auditor.inPod" . }} config check /etc/kubewitness/config/kubewitness.yaml
{{- end -}}
