{{/* What the API server shows to the webhook: a table, filled in place, of operation -> API group -> resources. In it
     are `webhook.operations` of everything (or, with scope `playbooks`, what `record.include` asks for), and what the
     playbooks ask for. files/kinds.yaml has what the program knows of Kubernetes. */}}

{{/* The rules of the webhook, a YAML list. */}}
{{- define "auditor.rules" -}}
{{- $asked := include "auditor.asked" . | fromJson -}}
{{- $shown := dict "kinds" (include "auditor.kinds" . | fromJson) "available" (include "auditor.apiGroups" . | fromJsonArray) -}}
{{- $_ := set $shown "quiet" (eq (include "auditor.noise" .) "rules" | and (not $asked.upkeep)) -}}
{{- $operations := dict -}}
{{- range $operation := list "UPDATE" "CREATE" "DELETE" "CONNECT" -}}
{{- $groups := include "auditor.groups" (merge (dict "groups" (get $asked.table $operation | default dict)) $shown) | fromJson -}}
{{- range $resources, $names := $groups -}}
{{- $key := toJson (dict "groups" (sortAlpha $names) "resources" $resources) -}}
{{- $_ := set $operations $key (append (get $operations $key | default list) $operation) -}}
{{- end -}}
{{- end -}}
{{- range $key := keys $operations | sortAlpha }}
{{- $rule := fromJson $key }}
- operations: {{ get $operations $key | toJson }}
  apiGroups: {{ toJson $rule.groups }}
  apiVersions: ["*"]
  resources: {{ $rule.resources }}
  scope: "*"
{{- end -}}
{{- end -}}

{{/* The conditions of the webhook, a YAML list; empty where the rules leave nothing to exclude. Every field that an API
     server may leave out is asked for first: an error of evaluation would skip the webhook. */}}
{{- define "auditor.matchConditions" -}}
{{- $asked := include "auditor.asked" . | fromJson -}}
{{- $kinds := include "auditor.kinds" . | fromJson -}}
{{- $wide := false -}}
{{- range $groups := $asked.table -}}
{{- range $resources := $groups -}}
{{- if or (has "*" $resources) (has "*/*" $resources) }}{{ $wide = true }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if and $wide (not $asked.upkeep) (eq (include "auditor.noise" .) "matchConditions") -}}
{{- $objects := list -}}
{{- $subresources := list -}}
{{- range $each := $kinds.noise -}}
{{- if hasKey $asked.named $each -}}
{{- else if eq (len (splitList "/" $each)) 3 }}{{ $subresources = append $subresources $each }}
{{- else }}{{ $objects = append $objects $each }}
{{- end -}}
{{- end -}}
{{- $resource := `request.resource.group + "/" + request.resource.resource` -}}
- name: not-upkeep
  expression: {{ printf `!(has(request.resource) && (%s) in %s)` $resource (toJson $objects) | squote }}
- name: not-upkeep-of-subresources
  expression: {{ printf `!(has(request.resource) && has(request.subResource) && (%s + "/" + request.subResource) in %s)` $resource (toJson $subresources) | squote }}
{{- end -}}
{{- end -}}

{{/* How upkeep is kept away: matchConditions, rules or none. */}}
{{- define "auditor.noise" -}}
{{- if ne .Values.webhook.noise "auto" -}}
{{- .Values.webhook.noise -}}
{{- else if semverCompare ">=1.28-0" .Capabilities.KubeVersion.Version -}}
matchConditions
{{- else -}}
rules
{{- end -}}
{{- end -}}

{{- define "auditor.kinds" -}}
{{- .Files.Get "files/kinds.yaml" | fromYaml | toJson -}}
{{- end -}}

{{/* The API groups that exist, a JSON list. Capabilities have v1, apps/v1, and in a cluster apps/v1/Deployment, too. */}}
{{- define "auditor.apiGroups" -}}
{{- $groups := list "" -}}
{{- range $version := .Capabilities.APIVersions -}}
{{- $group := splitList "/" $version | first -}}
{{- if and (contains "/" $version) (not (regexMatch "^v[0-9]" $group)) }}{{ $groups = append $groups $group }}{{ end -}}
{{- end -}}
{{- $groups | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/* What is asked for, as JSON: the `table`; what is `named` of the upkeep; and whether all `upkeep` is asked for. */}}
{{- define "auditor.asked" -}}
{{- $webhook := .Values.webhook -}}
{{- $record := .Values.record | default dict -}}
{{- $asked := dict "table" dict "named" dict "upkeep" (eq (get $record "defaults" | toString) "false") -}}
{{- $common := dict "asked" $asked "kinds" (include "auditor.kinds" . | fromJson) "subresources" ($webhook.subresources | default list) -}}
{{- if eq $webhook.scope "everything" -}}
{{- include "auditor.ask" (merge (dict "operations" $webhook.operations "groups" (list "*") "resource" "*" "all" true "status" $record.status) $common) -}}
{{- else -}}
{{- range $item := $record.include -}}
{{- include "auditor.askOfRecord" (merge (dict "item" $item "operations" $webhook.operations "status" $record.status) $common) -}}
{{- end -}}
{{- end -}}
{{- range $playbook := .Values.customPlaybooks -}}
{{- range $trigger := $playbook.triggers -}}
{{- range $name, $parameters := $trigger -}}
{{- $status := include "auditor.asksForStatus" (dict "parameters" ($parameters | default dict) "actions" $playbook.actions) -}}
{{- include "auditor.askOfTrigger" (merge (dict "name" $name "parameters" ($parameters | default dict) "status" $status) $common) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $asked -}}
{{- end -}}

{{/* Asks for objects. Takes: asked, kinds, subresources, operations, groups, resource, status, and
     subresource: this alone is asked for;
     all: operations on subresources count by themselves, and not as changes of the object only. */}}
{{- define "auditor.ask" -}}
{{- $ask := . -}}
{{- range $operation := .operations -}}
{{- $resources := list -}}
{{- if $ask.subresource -}}
{{- $resources = list (printf "%s/%s" $ask.resource $ask.subresource) -}}
{{- else -}}
{{- if or $ask.all (ne $operation "CONNECT") }}{{ $resources = list $ask.resource }}{{ end -}}
{{- if or $ask.all (has $operation (list "UPDATE" "CONNECT")) -}}
{{- range $each := include "auditor.subresources" $ask | fromJsonArray -}}
{{- if or $ask.all (ne $operation "CONNECT") (not (hasSuffix "/scale" $each)) }}{{ $resources = append $resources $each }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if and $ask.status (eq $operation "UPDATE") }}{{ $resources = append $resources (printf "%s/status" $ask.resource) }}{{ end -}}
{{- end -}}
{{- include "auditor.add" (dict "table" $ask.asked.table "operation" $operation "groups" $ask.groups "resources" $resources) -}}
{{- end -}}
{{- range $group := .groups -}}
{{- $path := printf "%s/%s" $group $ask.resource -}}
{{- $_ := set $ask.asked.named $path true -}}
{{- with $ask.subresource }}{{ $_ := set $ask.asked.named (printf "%s/%s" $path .) true }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "auditor.add" -}}
{{- $groups := get .table .operation | default dict -}}
{{- range $group := .groups -}}
{{- $_ := set $groups $group (concat (get $groups $group | default list) $.resources | uniq) -}}
{{- end -}}
{{- $_ := set .table .operation $groups -}}
{{- end -}}

{{/* The subresources of a resource that the values name, a JSON list. */}}
{{- define "auditor.subresources" -}}
{{- $ask := . -}}
{{- $found := list -}}
{{- range $each := .subresources -}}
{{- $parent := splitList "/" $each | first -}}
{{- $own := printf "%s/%s" $ask.resource (trimPrefix (printf "%s/" $parent) $each) -}}
{{- $unscaled := and (hasSuffix "/scale" $own) (hasKey $ask.kinds.resources $ask.resource) (not (has $ask.resource $ask.kinds.scaled)) -}}
{{- if eq $each $own }}{{ $found = append $found $each }}
{{- else if eq $ask.resource "*" }}{{ if has "*" $ask.groups }}{{ $found = append $found $each }}{{ end }}
{{- else if and (eq $parent "*") (not $unscaled) }}{{ $found = append $found $own }}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* Asks for what a trigger can fire on. Takes what auditor.ask does of all triggers, and: name, parameters, status. */}}
{{- define "auditor.askOfTrigger" -}}
{{- $word := regexReplaceAll "^on_(.+)_(create|update|delete|all_changes)$" .name "${1}" -}}
{{- $operation := trimPrefix (printf "on_%s_" $word) .name -}}
{{- $operations := ternary (list "CREATE" "UPDATE" "DELETE") (list (upper $operation)) (eq $operation "all_changes") -}}
{{- $ask := merge (dict "operations" $operations) . -}}
{{- if eq .name "on_job_failure" -}}
{{- else if eq .name "on_kubernetes_resource_operation" -}}
{{- include "auditor.askOfOperations" . -}}
{{- else if eq $word "kubernetes_any_resource" -}}
{{- include "auditor.ask" (merge (dict "groups" (list "*") "resource" "*") $ask) -}}
{{- else if eq $word "resource" -}}
{{- include "auditor.askOfKind" $ask -}}
{{- else -}}
{{- $resource := get .kinds.kinds $word -}}
{{- include "auditor.ask" (merge (dict "groups" (get .kinds.resources $resource) "resource" $resource) $ask) -}}
{{- end -}}
{{- end -}}

{{/* Asks for a kind by its group: all of the group where it is none that Kubernetes has, since nobody knows its plural. */}}
{{- define "auditor.askOfKind" -}}
{{- $group := .parameters.group | toString -}}
{{- $resource := get .kinds.kinds (.parameters.kind | toString | lower) -}}
{{- if contains "{{" (printf "%s%s" $group .parameters.kind) -}}
{{- $_ := set .asked "upkeep" true -}}
{{- end -}}
{{- if contains "{{" $group -}}
{{- include "auditor.ask" (merge (dict "groups" (list "*") "resource" "*") .) -}}
{{- else if has $group (get .kinds.resources $resource | default list) -}}
{{- include "auditor.ask" (merge (dict "groups" (list $group) "resource" $resource) .) -}}
{{- else -}}
{{- include "auditor.ask" (merge (dict "groups" (list $group) "resource" "*") .) -}}
{{- end -}}
{{- end -}}

{{/* Asks for what on_kubernetes_resource_operation names: deployment, pods/exec, certificates.cert-manager.io. */}}
{{- define "auditor.askOfOperations" -}}
{{- $ask := . -}}
{{- $operations := list -}}
{{- range $each := .parameters.operations | default (list "create" "update" "delete") -}}
{{- $operations = concat $operations (ternary (list "CREATE" "UPDATE" "DELETE" "CONNECT") (list (upper $each)) (contains "{{" $each)) | uniq -}}
{{- end -}}
{{- $ask = merge (dict "operations" $operations) . -}}
{{- range $text := .parameters.resources | default (list "") -}}
{{- if or (not $text) (contains "{{" $text) -}}
{{- if $text }}{{ $_ := set $ask.asked "upkeep" true }}{{ end -}}
{{- include "auditor.ask" (merge (dict "groups" (list "*") "resource" "*") $ask) -}}
{{- else -}}
{{- $name := splitList "/" $text | first -}}
{{- $subresource := trimPrefix $name $text | trimPrefix "/" -}}
{{- $word := lower $name | splitList "." | first -}}
{{- $resource := get $ask.kinds.kinds $word | default $word -}}
{{- $group := lower $name | trimPrefix $word | trimPrefix "." -}}
{{- $groups := get $ask.kinds.resources $resource | default (list "*") -}}
{{- if contains "." $name }}{{ $groups = list $group }}{{ end -}}
{{- include "auditor.ask" (merge (dict "groups" $groups "resource" $resource "subresource" $subresource) $ask) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Asks for what an item of record.include can match. Takes what auditor.ask does of all items, and: item, operations
     (of items that name none). A custom resource may have the kind of a built-in one: kinds are meant in every group. */}}
{{- define "auditor.askOfRecord" -}}
{{- $operations := include "auditor.words" .item.operation | fromJsonArray -}}
{{- $groups := include "auditor.words" .item.api_group | fromJsonArray -}}
{{- $resources := include "auditor.words" .item.resource | fromJsonArray -}}
{{- $subresources := include "auditor.words" .item.subresource | fromJsonArray -}}
{{- if not $resources -}}
{{- range $kind := include "auditor.words" .item.kind | fromJsonArray -}}
{{- $resources = append $resources (get $.kinds.kinds (lower $kind) | default "*") -}}
{{- end -}}
{{- end -}}
{{- if has "*" $resources }}{{ $resources = list }}{{ end -}}
{{- $named := .operations -}}
{{- if $operations }}{{ $named = list }}{{ range $operations }}{{ $named = append $named (upper .) }}{{ end }}
{{- else if not (kindIs "invalid" .item.operation) }}{{ $named = list "CREATE" "UPDATE" "DELETE" "CONNECT" }}
{{- end -}}
{{- $ask := merge (dict "operations" $named "groups" ($groups | default (list "*")) "all" true) . -}}
{{- if not .asked.upkeep }}{{ $ask = merge (dict "asked" (dict "table" .asked.table "named" dict)) $ask }}{{ end -}}
{{- range $resource := $resources | default (list "*") -}}
{{- $noisy := has (printf "%s/%s" (get $ask.kinds.resources $resource | default (list "") | first) $resource) $ask.kinds.noise -}}
{{- if or $ask.asked.upkeep (not $noisy) -}}
{{- range $subresource := $subresources | default (list "") -}}
{{- include "auditor.ask" (merge (dict "resource" $resource "subresource" $subresource) $ask) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The words that patterns of a scope mean, a JSON list; empty where there are none, or where a pattern is more than
     words. Takes nothing, a text or a list. */}}
{{- define "auditor.words" -}}
{{- $words := list -}}
{{- $plain := not (kindIs "invalid" .) -}}
{{- range $pattern := ternary . (list .) (kindIs "slice" .) -}}
{{- range $word := $pattern | default "" | toString | replace `\.` "." | splitList "|" -}}
{{- $words = append $words $word -}}
{{- if not (regexMatch `^[A-Za-z0-9.-]*$` $word) }}{{ $plain = false }}{{ end -}}
{{- end -}}
{{- end -}}
{{- ternary $words list $plain | toJson -}}
{{- end -}}

{{/* Not empty where a trigger fires on changes of the status. Takes: parameters, actions. */}}
{{- define "auditor.asksForStatus" -}}
{{- $patterns := list -}}
{{- if kindIs "map" .parameters.change_filters -}}
{{- $patterns = .parameters.change_filters.include | default list -}}
{{- else -}}
{{- range $action := .actions -}}
{{- $patterns = concat $patterns ((get $action "resource_babysitter" | default dict).fields_to_monitor | default list) -}}
{{- end -}}
{{- end -}}
{{- range $pattern := $patterns -}}
{{- if regexMatch `(^|[^A-Za-z0-9_-])status($|[^A-Za-z0-9_-])|\{\{` $pattern }}true{{ end -}}
{{- end -}}
{{- end -}}

{{/* The resources of an operation as JSON: a JSON list of resources -> the groups that have these. Takes: groups, kinds,
     available, and quiet: whether groups and resources are listed to leave out the upkeep. */}}
{{- define "auditor.groups" -}}
{{- $every := get .groups "*" | default list -}}
{{- $groups := dict -}}
{{- $names := keys .groups -}}
{{- if and .quiet (or (has "*" $every) (has "*/*" $every)) }}{{ $names = without (concat $names .available | uniq) "*" }}{{ end -}}
{{- range $name := $names | sortAlpha -}}
{{- $resources := get $.groups $name | default list -}}
{{- if ne $name "*" -}}
{{- if has "*" $names }}{{ $resources = include "auditor.uncovered" (list $resources $every true) | fromJsonArray -}}
{{- else }}{{ $resources = concat (include "auditor.within" (dict "group" $name "resources" $every "kinds" $.kinds) | fromJsonArray) $resources | uniq }}
{{- end -}}
{{- end -}}
{{- if $.quiet }}{{ $resources = include "auditor.quiet" (dict "group" $name "resources" $resources "kinds" $.kinds) | fromJsonArray }}{{ end -}}
{{- $key := include "auditor.uncovered" (list $resources $resources false) -}}
{{- if ne $key "[]" }}{{ $_ := set $groups $key (append (get $groups $key | default list) $name) }}{{ end -}}
{{- end -}}
{{- toJson $groups -}}
{{- end -}}

{{/* The resources that no other of a list covers, a JSON list: an API server refuses what a wildcard beside it means.
     Takes a list: resources, the list, whether a resource covers itself. */}}
{{- define "auditor.uncovered" -}}
{{- $cover := index . 1 -}}
{{- $self := index . 2 -}}
{{- $found := list -}}
{{- range $each := index . 0 -}}
{{- $parent := splitList "/" $each | first -}}
{{- $covers := list "*/*" -}}
{{- if contains "/" $each }}{{ $covers = append $covers (printf "*/%s" (trimPrefix (printf "%s/" $parent) $each)) | concat (list (printf "%s/*" $parent)) }}
{{- else }}{{ $covers = append $covers "*" }}
{{- end -}}
{{- $covered := and $self (has $each $cover) -}}
{{- range $wide := $covers }}{{ if and (ne $wide $each) (has $wide $cover) }}{{ $covered = true }}{{ end }}{{ end -}}
{{- if not $covered }}{{ $found = append $found $each }}{{ end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* Those of the resources that a group can have, a JSON list: other groups have their own Pods, and no pods/exec. */}}
{{- define "auditor.within" -}}
{{- $own := false -}}
{{- range $groups := .kinds.resources }}{{ if has $.group $groups }}{{ $own = true }}{{ end }}{{ end -}}
{{- $found := list -}}
{{- range $each := .resources -}}
{{- $groups := get $.kinds.resources (splitList "/" $each | first) | default (list $.group) -}}
{{- if or (has $.group $groups) (not (or $own (contains "/" $each))) }}{{ $found = append $found $each }}{{ end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* The resources of a group with `*` spelled out, a JSON list, if there is upkeep in that group. */}}
{{- define "auditor.quiet" -}}
{{- $known := list -}}
{{- $noisy := false -}}
{{- range $resource, $groups := .kinds.resources -}}
{{- if has $.group $groups -}}
{{- if has (printf "%s/%s" $.group $resource) $.kinds.noise }}{{ $noisy = true }}
{{- else }}{{ $known = append $known $resource }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $found := list -}}
{{- range $each := .resources -}}
{{- if not $noisy }}{{ $found = append $found $each }}
{{- else if eq $each "*" }}{{ $found = concat $found $known }}
{{- else if eq $each "*/*" }}{{ range $known }}{{ $found = append $found . }}{{ $found = append $found (printf "%s/*" .) }}{{ end }}
{{- else if not (and (hasPrefix "*/" $each) (not $known)) }}{{ $found = append $found $each }}
{{- end -}}
{{- end -}}
{{- $found | uniq | toJson -}}
{{- end -}}
