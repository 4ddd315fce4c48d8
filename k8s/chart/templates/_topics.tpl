{{- /* Rendered by k8s/render from k8s/overlays. Change the overlays, or k8s/chart_templates.py, instead. */ -}}
{{- define "bigtech-chat.topics" -}}
backoffLimit: 20
template:
  metadata:
    labels:
      app: kafka-topics
      app.kubernetes.io/part-of: bigtech-chat
  spec:
    automountServiceAccountToken: false
    containers:
      - args:
          - topics
        env:
{{- if not .Values.stores.inCluster }}
          - name: KAFKA_SECURITY_PROTOCOL
            valueFrom:
              secretKeyRef:
                key: KAFKA_SECURITY_PROTOCOL
                name: {{ .Values.secretName }}
                optional: true
          - name: KAFKA_SASL_MECHANISM
            valueFrom:
              secretKeyRef:
                key: KAFKA_SASL_MECHANISM
                name: {{ .Values.secretName }}
                optional: true
          - name: KAFKA_SASL_USERNAME
            valueFrom:
              secretKeyRef:
                key: KAFKA_SASL_USERNAME
                name: {{ .Values.secretName }}
                optional: true
          - name: KAFKA_SASL_PASSWORD
            valueFrom:
              secretKeyRef:
                key: KAFKA_SASL_PASSWORD
                name: {{ .Values.secretName }}
                optional: true
          - name: KAFKA_SSL_CA_FILE
            valueFrom:
              secretKeyRef:
                key: KAFKA_SSL_CA_FILE
                name: {{ .Values.secretName }}
                optional: true
{{- end }}
          - name: KAFKA_BOOTSTRAP_SERVERS
            value: {{ (include "bigtech-chat.settings" . | fromYaml).KAFKA_BOOTSTRAP_SERVERS | toJson }}
          - name: KAFKA_REPLICATION
            value: '3'
        image: {{ include "bigtech-chat.image" (list . "user-service") }}
        imagePullPolicy: IfNotPresent
        name: kafka-topics
        resources: {{ index .Values.resources "kafka-topics" | default (fromJson `{"limits": {"cpu": "200m", "memory": "128Mi"}, "requests": {"cpu": "50m", "memory": "64Mi"}}`) | toJson }}
        securityContext:
          allowPrivilegeEscalation: false
          capabilities:
            drop:
              - ALL
          readOnlyRootFilesystem: true
{{- if not .Values.stores.inCluster }}
        volumeMounts:
          - mountPath: /tls
            name: authorities
            readOnly: true
{{- end }}
    enableServiceLinks: false
    restartPolicy: OnFailure
    securityContext:
      runAsGroup: 65532
      runAsNonRoot: true
      runAsUser: 65532
      seccompProfile:
        type: RuntimeDefault
    serviceAccountName: kafka-topics
{{- if not .Values.stores.inCluster }}
    volumes:
      - name: authorities
        secret:
          optional: true
          secretName: {{ .Values.authoritiesSecret }}
{{- end }}
ttlSecondsAfterFinished: 86400
{{- end -}}
