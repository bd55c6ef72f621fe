{{- define "sherd.name" -}}
{{- if contains "sherd" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-sherd{{ end }}
{{- end }}

{{- define "sherd.selector" -}}
app.kubernetes.io/name: sherd
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "sherd.labels" -}}
{{ include "sherd.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "sherd.secret" -}}
{{ .Values.auth.existingSecret | default (include "sherd.name" .) }}
{{- end }}

{{- /* A host's name is its pod's, and others reach it by its name in the headless service: addresses change. */ -}}
{{- define "sherd.hosts" -}}
{{- $name := include "sherd.name" . -}}
{{- range $i := until (int .Values.replicas) -}}
{{- if $i }},{{ end }}{{ $name }}-{{ $i }}={{ $name }}-{{ $i }}.{{ $name }}-hosts:9100
{{- end -}}
{{- end }}

{{- /* The name of the first host that its certificate must have: a wildcard needs two labels after it. */ -}}
{{- define "sherd.first" -}}
{{- $name := include "sherd.name" . -}}
{{ $name }}-0.{{ $name }}-hosts.{{ .Release.Namespace }}.svc
{{- end }}

{{- /* The hosts that wait for commands, by a list with spaces between; a name that none has is refused. */ -}}
{{- define "sherd.maintenance" -}}
{{- $pods := list "all" -}}
{{- range $i := until (int .Values.replicas) -}}
{{- $pods = append $pods (printf "%s-%d" (include "sherd.name" $) $i) -}}
{{- end -}}
{{- range $host := splitList " " .Values.maintenance -}}
{{- if not (has $host $pods) -}}
{{- fail (printf "maintenance: there is no host %q, only %s" $host (join ", " $pods)) -}}
{{- end -}}
{{- end -}}
{{- .Values.maintenance -}}
{{- end }}

{{- /* Refuses more hosts for a store that was founded by one. What is installed is known to `helm upgrade` only. */ -}}
{{- define "sherd.grows" -}}
{{- with lookup "apps/v1" "StatefulSet" .Release.Namespace (include "sherd.name" .) -}}
{{- $names := list -}}
{{- range .spec.template.spec.containers -}}
{{- range .env -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- end -}}
{{- if not (has "SHERD_HOSTS" $names) -}}
{{- fail "replicas: this store was founded by one host, which does not become a cluster; install another release with 3 replicas or more, and copy the objects to it (the last host of a cluster does: delete the StatefulSet with --cascade=orphan first)" -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "sherd.probe" -}}
httpGet:
  path: {{ .path }}
  port: admin
  scheme: {{ if and .tls.existingSecret .tls.admin }}HTTPS{{ else }}HTTP{{ end }}
{{- end }}
