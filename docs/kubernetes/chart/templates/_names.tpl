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

{{- define "sherd.probe" -}}
httpGet:
  path: {{ .path }}
  port: admin
  scheme: {{ if and .tls.existingSecret .tls.admin }}HTTPS{{ else }}HTTP{{ end }}
{{- end }}
