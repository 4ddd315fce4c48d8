{{- /* The reference of one of our images: (list . "user-service"). A digest takes precedence over the tag. */ -}}
{{- define "bigtech-chat.image" -}}
{{- $images := (index . 0).Values.images -}}
{{- $name := index . 1 -}}
{{- $digest := index $images.digests $name -}}
{{- with $images.registry }}{{ . }}/{{ end }}bigtech-{{ $name }}
{{- if $digest }}@{{ $digest }}{{ else }}:{{ $images.tag }}{{ end }}
{{- end -}}

{{- /* The settings of the services: those of the values, and the defaults of the overlays. */ -}}
{{- define "bigtech-chat.settings" -}}
{{- merge (deepCopy .Values.settings) (include "bigtech-chat.defaults" . | fromYaml) | toYaml }}
{{- end -}}

{{- /* A list of networks as the destinations of a policy. */ -}}
{{- define "bigtech-chat.networks" -}}
{{- $to := list -}}
{{- range . }}{{ $to = append $to (dict "ipBlock" (dict "cidr" .)) }}{{ end -}}
{{- toJson $to }}
{{- end -}}
