{{/* What is derived from several values. */}}

{{/* The configuration file: the sections that are written, to the letter. */}}
{{- define "auditor.config" -}}
{{- range $section := list "customPlaybooks" "sinksConfig" "record" "globalConfig" }}
{{- with pick $.Values $section }}
{{- if not (kindIs "invalid" (get . $section)) }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The Secret with the server's certificate, where the program does not make it; empty where it does. */}}
{{- define "auditor.tlsSecretName" -}}
{{- if eq .Values.certificates.mode "provided" -}}
{{- .Values.certificates.provided.secretName -}}
{{- else if eq .Values.certificates.mode "certManager" -}}
{{- include "auditor.fullname" . }}-tls
{{- end -}}
{{- end -}}

{{/* "true" where the server watches Jobs, too. */}}
{{- define "auditor.isEmbedded" -}}
{{- if and .Values.watcher.enabled (not .Values.watcher.separate) }}true{{ end -}}
{{- end -}}

{{/* "true" where a Pod of its own watches Jobs. */}}
{{- define "auditor.isSeparate" -}}
{{- if and .Values.watcher.enabled .Values.watcher.separate }}true{{ end -}}
{{- end -}}

{{/* The consoles whose ledgers the server shows as one: those of all replicas, and of a watcher of its own; empty where
     there is only one. */}}
{{- define "auditor.peers" -}}
{{- $name := include "auditor.fullname" . -}}
{{- $namespace := .Release.Namespace -}}
{{- $consoles := list -}}
{{- range $number := until (int .Values.replicas) -}}
{{- $consoles = append $consoles (printf "http://%s-%d.%s-replicas.%s.svc:8080" $name $number $name $namespace) -}}
{{- end -}}
{{- if include "auditor.isSeparate" . -}}
{{- $consoles = append $consoles (printf "http://%s-watcher-0.%s-watcher.%s.svc:8080" $name $name $namespace) -}}
{{- end -}}
{{- if gt (len $consoles) 1 -}}{{ join "," $consoles }}{{- end -}}
{{- end -}}

{{/* "true" where `helm test` can see what it changes: the update of a ConfigMap in a namespace that is not left out. */}}
{{- define "auditor.isTestable" -}}
{{- if ne .Values.tests.namespace .Release.Namespace -}}
{{- range fromYamlArray (include "auditor.rules" .) -}}
{{- $group := or (has "" .apiGroups) (has "*" .apiGroups) -}}
{{- $resource := or (has "configmaps" .resources) (has "*" .resources) (has "*/*" .resources) -}}
{{- $operation := or (has "UPDATE" .operations) (has "*" .operations) -}}
{{- if and $group $resource $operation }}true{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The bytes of a size such as 5GiB or 8Gi, as a float; 0 where it is none. */}}
{{- define "auditor.bytes" -}}
{{- $text := include "auditor.text" . | lower | nospace -}}
{{- $factors := dict "" 1 "k" 1e3 "m" 1e6 "g" 1e9 "t" 1e12 "p" 1e15 "ki" 1024 "mi" 1048576 "gi" 1073741824 "ti" 1099511627776 "pi" 1125899906842624 -}}
{{- $factor := get $factors (regexFind "[a-z]*$" $text | trimSuffix "b") | default 0 -}}
{{- mulf (regexFind "^[0-9.]+" $text | default "0" | float64) $factor -}}
{{- end -}}
