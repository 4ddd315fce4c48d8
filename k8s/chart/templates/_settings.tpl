{{- /* Rendered by k8s/render from k8s/overlays. Change the overlays, or k8s/chart_templates.py, instead. */ -}}
{{- define "bigtech-chat.defaults" -}}
CORS_ORIGINS: https://{{ .Values.host }}
LOG_LEVEL: info
MONGODB_PORT: '27017'
MYSQL_POOL_SIZE: '10'
MYSQL_PORT: '3306'
REDIS_PORT: '6379'
SHUTDOWN_SECONDS: '25'
TRUSTED_PROXIES: placeholder
{{- if .Values.stores.inCluster }}
FILE_STORE_ACCESS_KEY: bigtech_chat
FILE_STORE_BUCKET: bigtech-chat
FILE_STORE_PUBLIC_URL: https://{{ .Values.files.host }}
FILE_STORE_URL: http://seaweedfs:8333
KAFKA_BOOTSTRAP_SERVERS: kafka-0.kafka-headless:9092,kafka-1.kafka-headless:9092,kafka-2.kafka-headless:9092
MONGODB_HOST: mongodb
MYSQL_HOST: mysql
REDIS_HOST: redis
{{- end }}
{{- end -}}
