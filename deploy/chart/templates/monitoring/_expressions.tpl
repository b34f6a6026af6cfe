{{/* What selects this release's series, wherever they are scraped from. */}}
{{- define "auditor.series" -}}
namespace="{{ .Release.Namespace }}"
{{- end -}}

{{/* What selects the API servers' series on the webhook. */}}
{{- define "auditor.webhookSeries" -}}
name="changes.kubewitness.svc"
{{- end -}}

{{/* An expression: a counter has grown within a window, also if it began to exist in it: a series with labels is born with
     its first count, which increase() does not see. Takes a list: selector, window. */}}
{{- define "auditor.grown" -}}
{{- $counter := index . 0 -}}
{{- $window := index . 1 -}}
increase({{ $counter }}[{{ $window }}]) > 0 or ({{ $counter }} > 0 unless {{ $counter }} offset {{ $window }})
{{- end -}}

{{/* The longest time, in seconds, for which a sink's grouping may keep a notification waiting on purpose: 900 is the
     program's own default. */}}
{{- define "auditor.longestGrouping" -}}
{{- $longest := 0 -}}
{{- range .Values.sinksConfig -}}
{{- range $options := . -}}
{{- $grouping := "" -}}
{{- if kindIs "map" $options -}}
{{- $grouping = $options.grouping -}}
{{- end -}}
{{- if kindIs "map" $grouping -}}
{{- $longest = max $longest ($grouping.interval | default 900 | int64) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $longest -}}
{{- end -}}

{{/* How a command is run in the Pod that an alert is about. */}}
{{- define "auditor.inPod" -}}
kubectl -n {{ .Release.Namespace }} exec {{`{{ $labels.pod }}`}} -- kubewitness
{{- end -}}
