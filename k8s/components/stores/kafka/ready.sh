#!/usr/bin/env bash
# Succeeds if this broker is in sync for all partitions of which it holds a copy. Kubernetes stops a further broker only when
# the others are ready, so that no partition falls under `min.insync.replicas`. A broker that others wait for stays ready.
set -euo pipefail
: "${KAFKA_NODE_ID:?}"

# A small heap: this runs beside the broker, within its limit of memory.
export KAFKA_HEAP_OPTS='-Xms32m -Xmx64m' PATH=$PATH:/opt/kafka/bin

# A line is `Topic: t  Partition: 0  Leader: 1  Replicas: 0,1,2  Isr: 1,2  …`.
kafka-topics.sh --bootstrap-server localhost:9092 --describe --under-replicated-partitions |
    awk -v id="$KAFKA_NODE_ID" '
        function has(list) { return index("," list ",", "," id ",") > 0 }
        {
            replicas = isr = ""
            for (i = 1; i < NF; i++) {
                if ($i == "Replicas:") replicas = $(i + 1)
                if ($i == "Isr:") isr = $(i + 1)
            }
            if (has(replicas) && !has(isr)) behind = 1
        }
        END { exit behind }'
