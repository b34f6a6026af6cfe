{{/* Alerts on the watcher of Jobs. */}}
{{- define "auditor.alerts.watcher" -}}
{{- $series := include "auditor.series" . -}}
{{- $name := include "auditor.fullname" . -}}
{{- $watcher := ternary (print $name "-watcher") $name .Values.watcher.separate -}}
- alert: KubewitnessWatchSilent
  expr: time() - kubewitness_watch_last_contact_timestamp_seconds{ {{- $series -}} } > 300
  for: 1m
  labels:
    severity: warning
  annotations:
    summary: The watcher does not hear from the API server.
    description: >-
      For {{`{{ $value | humanizeDuration }}`}} nothing has come over the watch of {{`{{ $labels.resource }}`}} to {{`{{ $labels.pod }}`}},
      where something comes about every minute. Jobs that fail are told when the watch is back, if they still exist then. /readyz
      and the log say why: kubectl -n {{ .Release.Namespace }} logs {{`{{ $labels.pod }}`}}
- alert: KubewitnessWatcherMissing
  expr: max by (namespace, cluster) (kubewitness_watcher_leading{ {{- $series -}} }) < 1 or absent(kubewitness_watcher_leading{ {{- $series -}} })
  for: 5m
  labels:
    severity: warning
  annotations:
    summary: Nobody tells of Jobs that fail.
    description: >-
      No replica of the watcher runs, or none holds the Lease {{ $name }}-watcher. Look whether its Pod runs, and at the Lease;
      helm upgrade makes it again if it was deleted: kubectl -n {{ .Release.Namespace }} get statefulset {{ $watcher }};
      kubectl -n {{ .Release.Namespace }} get lease {{ $name }}-watcher -o yaml
- alert: KubewitnessFailedJobsWait
  expr: kubewitness_failed_jobs_waiting{ {{- $series -}} } > 0 and kubewitness_watcher_leading{ {{- $series -}} } > 0
  for: 10m
  labels:
    severity: warning
  annotations:
    summary: Failed Jobs are not told.
    description: >-
      {{`{{ $labels.pod }}`}} leads and has kept {{`{{ $value | printf "%.0f" }}`}} waiting for 10 minutes: it cannot write its
      journal, or not the Lease {{ $name }}-watcher-failed-jobs, in which it notes what is told. /readyz and the log say why:
      kubectl -n {{ .Release.Namespace }} logs {{`{{ $labels.pod }}`}}
{{- end -}}
