{{- define "efsnet.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "efsnet.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "efsnet.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "efsnet.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "efsnet.selectorLabels" -}}
app.kubernetes.io/name: {{ include "efsnet.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "efsnet.labels" -}}
{{ include "efsnet.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "efsnet.image" -}}
{{- $repository := ternary .Values.gpu.repository .Values.image.repository .Values.gpu.enabled }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* "true" where there may be more than one pod at a time. */}}
{{- define "efsnet.several" -}}
{{- if or .Values.autoscaling.enabled (gt (int .Values.replicaCount) 1) }}true{{ end }}
{{- end }}

{{/* "true" where a volume is on one node at a time, so that the old pod must end before the new one starts. */}}
{{- define "efsnet.oneAtATime" -}}
{{- range list .Values.store .Values.state }}
{{- if and .persistent (ne .accessMode "ReadWriteMany") }}true{{ end }}
{{- end }}
{{- end }}

{{/* What the chart itself sets, and why it cannot be otherwise. */}}
{{- define "efsnet.settings" -}}
EFSNET_HOST: 0.0.0.0
EFSNET_PORT: "8000"
EFSNET_STORE: /store
EFSNET_STATE: /state
EFSNET_DEADLINE_S: {{ .Values.deadlineSeconds | quote }}
EFSNET_DRAIN_S: {{ .Values.drainSeconds | quote }}
{{- if .Values.keys.existingSecret }}
EFSNET_KEYS: /keys/keys.json
{{- end }}
{{- if .Values.openToNetwork }}
EFSNET_OPEN_TO_NETWORK: without-keys
{{- end }}
{{- if .Values.gpu.enabled }}
EFSNET_PROVIDER: {{ .Values.gpu.provider }}
{{- end }}
{{- end }}

{{/* Values that fit nowhere are told when the chart is rendered, and not by pods that do not start. */}}
{{- define "efsnet.check" -}}
{{- if not (or .Values.keys.existingSecret .Values.openToNetwork (hasKey .Values.settings "EFSNET_OIDC_ISSUER")) }}
{{- fail "Who may use the service? Set keys.existingSecret, settings.EFSNET_OIDC_ISSUER, or openToNetwork=true." }}
{{- end }}
{{- if and .Values.keys.existingSecret .Values.openToNetwork }}
{{- fail "openToNetwork=true lets everybody in, and keys.existingSecret does not: set one of them." }}
{{- end }}
{{- if and (include "efsnet.several" .) (include "efsnet.oneAtATime" .) }}
{{- fail "More than one pod needs volumes that they can share: set store.accessMode and state.accessMode to ReadWriteMany, or persistent to false." }}
{{- end }}
{{- $own := include "efsnet.settings" . | fromYaml }}
{{- range $name, $_ := .Values.settings }}
{{- if hasKey $own $name }}
{{- fail (printf "settings.%s is set by the chart itself: see values.yaml." $name) }}
{{- end }}
{{- end }}
{{- end }}
