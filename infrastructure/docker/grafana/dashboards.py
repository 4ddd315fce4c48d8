#!/usr/bin/env python3
"""Generates the dashboards in dashboards/: python3 dashboards.py. With --check it writes nothing and fails if the files
differ from its output."""

import json
import pathlib
import sys

FOLDER = pathlib.Path(__file__).parent / "dashboards"
PROMETHEUS = {"type": "prometheus", "uid": "prometheus"}
LOKI = {"type": "loki", "uid": "loki"}
WIDTH = 24

GREEN, YELLOW, RED = "green", "yellow", "red"


class Board:
    """A board whose panels are placed in rows from left to right."""

    def __init__(self, uid, title, description, variables=()):
        self.uid, self.title, self.description, self.variables = uid, title, description, list(variables)
        self.panels, self.x, self.y, self.height = [], 0, 0, 0

    def row(self, title):
        self._break()
        self._add({"type": "row", "title": title, "collapsed": False, "panels": []}, WIDTH, 1)
        self._break()

    def stat(self, title, description, expr, unit="short", steps=None, width=4, mappings=None, legend="", minimum=0):
        options = {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "background" if steps else "value",
            "graphMode": "area",
            "textMode": "value_and_name" if legend else "auto",
        }
        self._panel("stat", title, description, [(expr, legend)], unit, steps, options, width, 4, mappings, minimum=minimum)

    def graph(self, title, description, *targets, unit="short", steps=None, width=8, stack=False, maximum=None,
              minimum=0):
        options = {
            "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
        custom = {"fillOpacity": 20 if stack else 8, "showPoints": "never", "lineWidth": 1}
        if stack:
            custom["stacking"] = {"mode": "normal", "group": "A"}
        if steps:
            custom["thresholdsStyle"] = {"mode": "line"}
        self._panel("timeseries", title, description, targets, unit, steps, options, width, 8, None, custom, maximum, minimum)

    def logs(self, title, description, expr):
        options = {"showTime": True, "wrapLogMessage": True, "enableLogDetails": True, "sortOrder": "Descending"}
        target = {"refId": "A", "datasource": LOKI, "expr": expr, "queryType": "range"}
        panel = {"type": "logs", "title": title, "description": description, "datasource": LOKI}
        self._add(panel | {"targets": [target], "options": options}, WIDTH, 9)

    def _panel(self, kind, title, description, targets, unit, steps, options, width, height, mappings, custom=None,
               maximum=None, minimum=0):
        assert description, title
        defaults = {"unit": unit, "min": minimum, "thresholds": thresholds(steps), "mappings": mappings or []}
        if not steps and kind == "timeseries":
            defaults["color"] = {"mode": "palette-classic"}
        if custom:
            defaults["custom"] = custom
        if minimum is None:
            del defaults["min"]
        if maximum is not None:
            defaults["max"] = maximum
        self._add({
            "type": kind,
            "title": title,
            "description": description,
            "datasource": PROMETHEUS,
            "targets": [target(n, expr, legend) for n, (expr, legend) in enumerate(targets)],
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "options": options,
        }, width, height)

    def _add(self, panel, width, height):
        if self.x + width > WIDTH:
            self._break()
        position = {"x": self.x, "y": self.y, "w": width, "h": height}
        self.panels.append({"id": len(self.panels) + 1, **panel, "gridPos": position})
        self.x, self.height = self.x + width, max(self.height, height)

    def _break(self):
        self.x, self.y, self.height = 0, self.y + self.height, 0

    def document(self):
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["bigtech-chat"],
            "timezone": "browser",
            "schemaVersion": 39,
            "version": 1,
            "editable": True,
            "graphTooltip": 1,
            "refresh": "15s",
            "time": {"from": "now-1h", "to": "now"},
            "templating": {"list": self.variables},
            "annotations": {"list": [alert_annotations()]},
            "links": [{
                "title": "Dashboards", "type": "dashboards", "tags": ["bigtech-chat"], "asDropdown": True,
                "includeVars": False, "keepTime": True,
            }],
            "panels": self.panels,
        }


def target(n, expr, legend):
    return {"refId": chr(ord("A") + n), "datasource": PROMETHEUS, "expr": expr, "legendFormat": legend or "__auto"}


def thresholds(steps):
    """Green below the first step; each step starts a colour at a value."""
    colours = [{"color": GREEN, "value": None}]
    return {"mode": "absolute", "steps": colours + [{"color": colour, "value": value} for value, colour in steps or []]}


def variable(name, label, query):
    return {
        "name": name, "label": label, "type": "query", "datasource": PROMETHEUS, "query": query, "refresh": 2,
        "sort": 1,
        "multi": True, "includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"},
    }


def alert_annotations():
    return {
        "name": "Alerts", "datasource": PROMETHEUS, "enable": True, "iconColor": RED,
        "expr": 'ALERTS{alertstate="firing"}', "titleFormat": "{{alertname}}", "textFormat": "{{service}} {{instance}}",
    }


DOWN = [{"type": "value", "options": {"0": {"text": "DOWN", "color": RED}, "1": {"text": "UP", "color": GREEN}}}]
ERROR_STEPS = [(0.01, YELLOW), (0.05, RED)]
LATENCY_STEPS = [(0.5, YELLOW), (1, RED)]
AGE_STEPS = [(10, YELLOW), (60, RED)]
LAG_STEPS = [(100, YELLOW), (1000, RED)]
RATE = "$__rate_interval"


def quantiles(metric, matchers, by=""):
    legend = lambda name: name + (f" {{{{{by}}}}}" if by else "")
    grouping = f"le, {by}" if by else "le"
    return [
        (f"histogram_quantile({q}, sum by ({grouping}) (rate({metric}_bucket{{{matchers}}}[{RATE}])))", legend(name))
        for q, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    ]


def quantile(q, metric, matchers, by):
    return f"histogram_quantile({q}, sum by (le, {by}) (rate({metric}_bucket{{{matchers}}}[{RATE}])))"


def error_share(matchers):
    """The share of errors: 0 without failures, no data without requests. 501 says that there is no object store, which is none."""
    all_requests = f"sum(rate(http_requests_total{{{matchers}}}[{RATE}]))"
    failed = f'sum(rate(http_requests_total{{{matchers}, status=~"5..", status!="501"}}[{RATE}]))'
    return f"({failed} or 0 * {all_requests}) / ({all_requests} > 0)"


def service_board(uid, title, service, description, add_panels, consumes):
    """The board of a service: the common panels, and those that `add_panels` adds."""
    board = Board(uid, title, description, [
        variable("instance", "Replica", f'label_values(up{{job="{service}"}}, instance)'),
    ])
    matchers = f'service="{service}", instance=~"$instance"'
    board.row("Now")
    board.stat("Status", "UP if Prometheus scrapes every replica.",
               f'min(up{{job="{service}", instance=~"$instance"}})',
               mappings=DOWN, steps=[(0, RED), (1, GREEN)])
    board.stat("Request rate", "Requests per second.", f"sum(rate(http_requests_total{{{matchers}}}[{RATE}]))", "reqps")
    board.stat("Error share", "Share of the responses that are 5xx other than 501.", error_share(matchers), "percentunit", ERROR_STEPS)
    board.stat("p95", "The 95th percentile of the latency.",
               f"histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket{{{matchers}}}[{RATE}])))",
               "s", LATENCY_STEPS)
    board.stat("Outbox age", "How long the oldest committed event has waited for Kafka.",
               f"max(outbox_oldest_age_seconds{{{matchers}}})", "s", AGE_STEPS)
    board.stat("Version", "Running versions and their replicas.",
               f"count by (version) (service_build_info{{{matchers}}})", legend="{{version}}")

    add_panels(board, matchers)

    board.row("Requests")
    board.graph("By endpoint", "Requests per second by route template.",
                (f"sum by (method, path) (rate(http_requests_total{{{matchers}}}[{RATE}]))", "{{method}} {{path}}"),
                unit="reqps")
    board.graph("By method", "Requests per second by method.",
                (f"sum by (method) (rate(http_requests_total{{{matchers}}}[{RATE}]))", "{{method}}"), unit="reqps",
                stack=True)
    board.graph("By status", "Requests per second by response status.",
                (f"sum by (status) (rate(http_requests_total{{{matchers}}}[{RATE}]))", "{{status}}"), unit="reqps",
                stack=True)
    board.graph("Latency", "Latency percentiles. A live stream counts until its first byte.",
                *quantiles("http_request_duration_seconds", matchers), unit="s", steps=[(1, RED)])
    board.graph("Latency by endpoint", "The 95th percentile of the latency of each route.",
                (quantile(0.95, "http_request_duration_seconds", matchers, "method, path"), "{{method}} {{path}}"),
                unit="s", steps=[(1, RED)])
    board.graph("Error rate", "Share of the responses that are 5xx other than 501; the alert fires at 5 %.",
                (error_share(matchers), "errors"), unit="percentunit", steps=[(0.05, RED)])

    board.row("Saturation")
    board.graph("CPU", "Cores used by each replica; the alert fires at 0.4.",
                (f"rate(process_cpu_seconds_total{{{matchers}}}[{RATE}])", "{{instance}}"), steps=[(0.4, RED)])
    board.graph("Memory", "Resident memory of each replica; the alert fires at 410 MiB.",
                (f"process_resident_memory_bytes{{{matchers}}}", "{{instance}}"), unit="bytes",
                steps=[(0.8 * 512 * 1024 * 1024, RED)])
    board.graph("Open files", "File descriptors in use and their limit.",
                (f"process_open_fds{{{matchers}}}", "{{instance}} open"),
                (f"process_max_fds{{{matchers}}}", "{{instance}} limit"))
    board.graph("Store connections", "Connections in use and the limit of each pool.",
                (f'store_pool_connections{{{matchers}, state="used"}}', "{{store}} used {{instance}}"),
                (f"store_pool_max_connections{{{matchers}}}", "{{store}} limit {{instance}}"))
    board.graph("Store latency", "The 95th percentile of the duration of commands, by store.",
                (quantile(0.95, "store_query_duration_seconds", matchers, "store, operation"),
                 "{{store}} {{operation}}"), unit="s")
    board.graph("Runtime", "Live tasks, and runnable tasks that wait for a worker thread.",
                (f"runtime_tasks{{{matchers}}}", "live {{instance}}"),
                (f"runtime_queue_length{{{matchers}}}", "waiting {{instance}}"))
    board.graph("Cache hit rate", "Share of the lookups that a cache answered.",
                (f'sum by (cache) (rate(cache_requests_total{{{matchers}, outcome="hit"}}[{RATE}])) '
                 f"/ (sum by (cache) (rate(cache_requests_total{{{matchers}}}[{RATE}])) > 0)", "{{cache}}"),
                unit="percentunit", maximum=1)
    board.graph("Dependencies", "1 while a dependency answers the replica's check, every five seconds.",
                (f"dependency_up{{{matchers}}}", "{{dependency}} {{instance}}"), steps=[(0, RED), (1, GREEN)], maximum=1)
    board.graph("Authentication without Redis",
                "1 while revoked sessions cannot be looked up, so tokens are checked only by signature and expiry.",
                (f"auth_degraded{{{matchers}}}", "{{instance}}"), steps=[(1, RED)], maximum=1)

    board.row("Events")
    board.graph("Published", "Records per second that Kafka acknowledged.",
                (f"sum by (topic) (rate(kafka_events_published_total{{{matchers}}}[{RATE}]))", "{{topic}}"), unit="cps")
    if consumes:
        board.graph("Consumed", "Records per second by consumer group. The live fan-out is shown as a group.",
                    (f"sum by (group, topic) (rate(kafka_events_consumed_total{{{matchers}}}[{RATE}]))",
                     "{{group}} {{topic}}"),
                    unit="cps")
        board.graph("Consumer lag", "Records behind the end of the topic; the alert fires at 1,000.",
                    (f"sum by (group, topic) (kafka_consumer_lag{{{matchers}}})", "{{group}} {{topic}}"),
                    steps=[(1000, RED)])
    board.graph("Outbox size", "Committed events that are not yet published to Kafka.",
                (f"max by (outbox) (outbox_pending{{{matchers}}})", "{{outbox}}"))
    board.graph("Outbox age", "How long the oldest unpublished event has waited; the alert fires at 60 s.",
                (f"max by (outbox) (outbox_oldest_age_seconds{{{matchers}}})", "{{outbox}}"), unit="s",
                steps=[(60, RED)])

    board.row("Logs")
    board.logs("Warnings and errors", "The trace_id of a line links to the trace of the request.",
               f'{{service="{service}"}} | json | level=~"warn|error"')
    return board


def user_panels(board, matchers):
    board.row("Users")
    board.graph("Registrations", "Sign-ups per minute by outcome.",
                (f"sum by (status) (rate(user_registration_total{{{matchers}}}[{RATE}])) * 60", "{{status}}"),
                unit="cpm")
    board.graph("Logins", "Logins per minute by outcome.",
                (f"sum by (status) (rate(user_login_total{{{matchers}}}[{RATE}])) * 60", "{{status}}"), unit="cpm")
    board.graph("Users online", "As counted by user-service. Every replica reports the same total.",
                (f"max(online_users_count{{{matchers}}})", "online"))
    board.graph("Search latency", "The duration of a user search.",
                *quantiles("user_search_duration_seconds", matchers), unit="s")
    board.graph("Password queue", "Logins and sign-ups that wait for a hashing thread; a full queue returns 503.",
                (f"password_queue_length{{{matchers}}}", "{{instance}}"))
    board.graph("Anonymous service calls", "Calls between services without credentials, while they are allowed.",
                (f"rate(anonymous_service_calls_total{{{matchers}}}[{RATE}])", "{{instance}}"), unit="reqps")


def friend_panels(board, matchers):
    board.row("Friendships")
    board.graph("Requests", "Friend requests per minute by outcome.",
                (f"sum by (status) (rate(friend_request_total{{{matchers}}}[{RATE}])) * 60", "{{status}}"), unit="cpm")
    board.graph("Acceptance rate", "Share of the answered requests that were accepted, over an hour.",
                (f'sum(increase(friend_request_total{{{matchers}, status="accepted"}}[1h])) '
                 f'/ (sum(increase(friend_request_total{{{matchers}, status=~"accepted|rejected"}}[1h])) > 0)',
                 "accepted"),
                unit="percentunit", maximum=1)
    board.graph("API traffic", "Requests per second to /friends routes.",
                (f'sum by (path) (rate(http_requests_total{{{matchers}, path=~"/friends.*"}}[{RATE}]))', "{{path}}"),
                unit="reqps")
    call_panels(board, matchers)


def chat_panels(board, matchers):
    board.row("Chat")
    board.graph("Messages", "Messages accepted per second by type.",
                (f"sum by (message_type) (rate(message_sent_total{{{matchers}}}[{RATE}]))", "{{message_type}}"),
                unit="cps",
                stack=True)
    board.graph("Rooms created", "New rooms per minute by type.",
                (f"sum by (room_type) (rate(chat_room_created_total{{{matchers}}}[{RATE}])) * 60", "{{room_type}}"),
                unit="cpm")
    board.graph("SSE connections", "Open live streams of each replica.",
                (f"active_sse_connections{{{matchers}}}", "{{instance}}"))
    board.graph("Send latency", "Time from a message's arrival to its commit. The objective is 99 % within 100 ms.",
                *quantiles("message_processing_duration_seconds", matchers), unit="s", steps=[(0.1, RED)])
    board.graph("Delivery latency",
                "Time from a message's arrival until it is available to readers. The objective is 99 % within 500 ms.",
                *quantiles("message_delivery_duration_seconds", matchers), unit="s", steps=[(0.5, RED)])
    board.graph("Active rooms", "Rooms with live subscribers, by replica.",
                (f"active_chat_rooms{{{matchers}}}", "{{instance}}"))
    board.graph("Writer queue", "Changes that wait for the replica's writer; at 1,000 further requests return 503.",
                (f"message_queue_length{{{matchers}}}", "{{instance}}"), steps=[(1000, RED)])
    board.graph("Commits", "The 95th percentile of the duration of the writer's transaction.",
                (f'histogram_quantile(0.95, sum by (le) (rate(store_query_duration_seconds_bucket{{{matchers}, '
                 f'store="mongodb", operation="transaction"}}[{RATE}])))', "p95"), unit="s")
    call_panels(board, matchers)


def call_panels(board, matchers):
    board.graph("Calls to user-service", "Attempts per second by outcome.",
                (f"sum by (call, outcome) (rate(user_service_calls_total{{{matchers}}}[{RATE}]))",
                 "{{call}} {{outcome}}"),
                unit="reqps")
    board.graph("Latency of calls to user-service", "The 95th percentile of the duration of one attempt.",
                (quantile(0.95, "user_service_call_duration_seconds", matchers, "call"), "{{call}}"), unit="s")
    board.graph("Circuit open", "1 while the circuit breaker blocks calls to user-service.",
                (f"user_service_circuit_open{{{matchers}}}", "{{instance}}"), steps=[(1, RED)], maximum=1)


def infrastructure():
    board = Board("bigtech-infrastructure", "Infrastructure",
                  "MySQL, MongoDB, Redis, Kafka and Kong, as reported by their exporters.",
                  [variable("topic", "Topic", "label_values(kafka_topic_partition_current_offset, topic)")])
    board.row("Now")
    board.stat("MySQL", "UP if it responds to its exporter.", "min(mysql_up)", mappings=DOWN,
               steps=[(0, RED), (1, GREEN)])
    board.stat("MongoDB", "UP if it responds to its exporter.", "min(mongodb_up)", mappings=DOWN,
               steps=[(0, RED), (1, GREEN)])
    board.stat("Redis", "UP if it responds to its exporter.", "min(redis_up)", mappings=DOWN,
               steps=[(0, RED), (1, GREEN)])
    board.stat("Kafka brokers", "Available brokers.", "max(kafka_brokers)", steps=[(0, RED), (1, GREEN)])
    board.stat("Kong", "UP if Prometheus scrapes its status port.", 'min(up{job="kong"})', mappings=DOWN,
               steps=[(0, RED), (1, GREEN)])
    board.stat("Under-replicated partitions", "Kafka partitions that lack a replica.",
               "sum(kafka_topic_partition_under_replicated_partition)", steps=[(1, RED)])

    board.row("MySQL")
    board.graph("Connections", "Open connections, those that run a statement, and the limit.",
                ("mysql_global_status_threads_connected", "open"),
                ("mysql_global_status_threads_running", "running"), ("mysql_global_variables_max_connections", "limit"))
    board.graph("Throughput", "Statements per second.", (f"rate(mysql_global_status_queries[{RATE}])", "statements"),
                unit="cps")
    board.graph("Statements", "Statements per second by kind.",
                (f'sum by (command) (rate(mysql_global_status_commands_total{{command=~"select|insert|update|delete|commit|rollback"}}[{RATE}]))',
                 "{{command}}"), unit="cps")
    board.graph("Buffer pool hit rate", "Share of the page reads that did not read from disk.",
                (f"1 - rate(mysql_global_status_innodb_buffer_pool_reads[{RATE}]) "
                 f"/ (rate(mysql_global_status_innodb_buffer_pool_read_requests[{RATE}]) > 0)", "hits"),
                unit="percentunit", maximum=1)
    board.graph("Memory", "Used memory and size of the buffer pool.",
                ("mysql_global_status_innodb_buffer_pool_bytes_data", "used"),
                ("mysql_global_variables_innodb_buffer_pool_size", "size"), unit="bytes")
    board.graph("Row lock waits", "Waits for row locks per second.",
                (f"rate(mysql_global_status_innodb_row_lock_waits[{RATE}])", "waits"), unit="cps")

    board.row("MongoDB")
    board.graph("Connections", "Open and available connections.",
                ('mongodb_ss_connections{conn_type="current"}', "open"),
                ('mongodb_ss_connections{conn_type="available"}', "available"))
    board.graph("Throughput", "Operations per second.",
                (f"sum by (legacy_op_type) (rate(mongodb_ss_opcounters[{RATE}]))",
                "{{legacy_op_type}}"), unit="ops")
    board.graph("Memory", "Resident memory and the size of the cache.",
                ("mongodb_ss_mem_resident * 1024 * 1024", "resident"),
                ("mongodb_ss_wt_cache_bytes_currently_in_the_cache", "cache"), unit="bytes")
    board.graph("Cache hit rate", "Share of the page requests that did not read from disk.",
                (f"1 - rate(mongodb_ss_wt_cache_pages_read_into_cache[{RATE}]) "
                 f"/ (rate(mongodb_ss_wt_cache_pages_requested_from_the_cache[{RATE}]) > 0)", "hits"),
                unit="percentunit", maximum=1)
    board.graph("Transactions", "Committed and aborted transactions per second.",
                (f"rate(mongodb_ss_transactions_totalCommitted[{RATE}])", "committed"),
                (f"rate(mongodb_ss_transactions_totalAborted[{RATE}])", "aborted"), unit="cps")
    board.graph("Documents", "Documents read or changed per second.",
                (f"sum by (doc_op_type) (rate(mongodb_ss_metrics_document[{RATE}]))",
                "{{doc_op_type}}"), unit="cps")

    board.row("Redis")
    board.graph("Connections", "Connected clients, and clients in a blocking command.",
                ("redis_connected_clients", "clients"), ("redis_blocked_clients", "blocked"))
    board.graph("Throughput", "Commands per second.", (f"rate(redis_commands_processed_total[{RATE}])", "commands"),
                unit="ops")
    board.graph("Memory", "Used memory and the limit; 0 means no limit.", ("redis_memory_used_bytes", "used"),
                ("redis_memory_max_bytes", "limit"), unit="bytes")
    board.graph("Hit rate", "Share of the lookups that found a key.",
                (f"rate(redis_keyspace_hits_total[{RATE}]) / "
                 f"((rate(redis_keyspace_hits_total[{RATE}]) + rate(redis_keyspace_misses_total[{RATE}])) > 0)",
                 "hits"),
                unit="percentunit", maximum=1)
    board.graph("Keys", "Keys by database.", ("redis_db_keys > 0", "{{db}}"))
    board.graph("Evicted and expired", "Keys per second. Redis evicts keys when it reaches its memory limit.",
                (f"rate(redis_evicted_keys_total[{RATE}])", "evicted"),
                (f"rate(redis_expired_keys_total[{RATE}])", "expired"),
                unit="cps")

    board.row("Kafka")
    board.graph("Throughput", "Records per second by topic.",
                (f'sum by (topic) (rate(kafka_topic_partition_current_offset{{topic=~"$topic", topic!~"__.*"}}[{RATE}]))',
                 "{{topic}}"), unit="cps")
    board.graph("Consumer lag", "Records that a consumer group has not processed; the alert fires at 1,000.",
                ("sum by (consumergroup, topic) (kafka_consumergroup_lag)", "{{consumergroup}} {{topic}}"),
                ("sum by (group, topic) (kafka_consumer_lag)", "{{group}} {{topic}} (reported by the service)"),
                steps=[(1000, RED)])
    board.graph("Brokers", "Available brokers, and partitions that lack a replica.", ("max(kafka_brokers)", "brokers"),
                ("sum(kafka_topic_partition_under_replicated_partition)", "under-replicated"))

    board.row("Kong")
    board.graph("Requests", "Requests per second by service and status.",
                (f"sum by (service, code) (rate(kong_http_requests_total[{RATE}]))", "{{service}} {{code}}"),
                unit="reqps")
    board.graph("Latency", "The 95th percentile: the total, and the part of the upstream service.",
                (f"histogram_quantile(0.95, sum by (le, service) (rate(kong_request_latency_ms_bucket[{RATE}])))",
                 "{{service}}"),
                (f"histogram_quantile(0.95, sum by (le, service) (rate(kong_upstream_latency_ms_bucket[{RATE}])))",
                 "{{service}} upstream"), unit="ms")
    board.graph("Bandwidth", "Bytes per second, in and out.",
                (f"sum by (direction) (rate(kong_bandwidth_bytes[{RATE}]))", "{{direction}}"), unit="Bps")
    return board


def overview():
    services = ("user-service", "friend-service", "chat-service")
    board = Board("bigtech-msa-overview", "Overview",
                  "The health of all services: status, objectives, traffic, saturation.",
                  [variable("service", "Service", "label_values(service_build_info, service)")])
    board.row("Services")
    for service in services:
        name = service.removesuffix("-service").capitalize()
        board.stat(f"{name}: up", "UP if Prometheus scrapes every replica.", f'min(up{{job="{service}"}})',
                   mappings=DOWN, steps=[(0, RED), (1, GREEN)])
        board.stat(f"{name}: error share", "Share of the responses that are 5xx other than 501, over five minutes.",
                   f'service:http_errors:ratio_rate5m{{service="{service}"}}', "percentunit", ERROR_STEPS, width=5)
        board.stat(f"{name}: p95", "The 95th percentile of the latency.",
                   f'service:http_request_duration_seconds:p95_5m{{service="{service}"}}', "s", LATENCY_STEPS, width=5)
        board.stat(f"{name}: outbox age", "How long the oldest committed event has waited for Kafka.",
                   f'service:outbox_oldest_age_seconds:max{{service="{service}"}}', "s", AGE_STEPS, width=5)
        board.stat(f"{name}: lag", "Records that its consumers have not processed; user-service has no consumers.",
                   f'sum(kafka_consumer_lag{{service="{service}"}}) or vector(0)', "short", LAG_STEPS, width=5)

    board.row("Alerts and objectives")
    board.stat("Firing alerts", "Alerts that are firing.", 'count(ALERTS{alertstate="firing"}) or vector(0)',
               steps=[(1, RED)])
    board.stat("Availability, 6 h", "Share of the responses that were no errors (5xx other than 501); the objective is 99.9 %.",
               "1 - max(service:slo_availability_errors:ratio_rate6h)", "percentunit",
               [(0, RED), (0.999, GREEN)], width=5)
    board.stat("Sends within 100 ms, 6 h", "Share of the messages committed within 100 ms; the objective is 99 %.",
               "1 - slo:send_latency_slow:ratio_rate6h", "percentunit",
               [(0, RED), (0.99, GREEN)], width=5)
    board.stat("Deliveries within 500 ms, 6 h",
               "Share of the messages available to live readers within 500 ms; the objective is 99 %.",
               "1 - slo:delivery_latency_slow:ratio_rate6h",
               "percentunit", [(0, RED), (0.99, GREEN)], width=5)
    board.stat("Users online", "As counted by user-service.", "max(online_users_count)", width=5)

    board.row("Traffic")
    board.graph("Requests", "Requests per second by service.",
                (f'sum by (service) (rate(http_requests_total{{service=~"$service"}}[{RATE}]))', "{{service}}"),
                unit="reqps",
                stack=True)
    board.graph("Error share", "Share of the responses that are 5xx other than 501; the alert fires at 5 %.",
                ('service:http_errors:ratio_rate5m{service=~"$service"}', "{{service}}"), unit="percentunit",
                steps=[(0.05, RED)])
    board.graph("p95", "The 95th percentile of the latency; the alert fires at 1 s.",
                ('service:http_request_duration_seconds:p95_5m{service=~"$service"}', "{{service}}"), unit="s",
                steps=[(1, RED)])
    board.graph("Messages", "Messages accepted per second.", (f"sum(rate(message_sent_total[{RATE}]))", "messages"),
                unit="cps")
    board.graph("Delivery latency", "Time from a message's arrival until it is available to live readers.",
                *quantiles("message_delivery_duration_seconds", ""), unit="s", steps=[(0.5, RED)])
    board.graph("SSE connections", "Open live streams.", ("sum(active_sse_connections)", "streams"))

    board.row("Saturation")
    board.graph("CPU", "Cores used by service.",
                (f'sum by (service) (rate(process_cpu_seconds_total{{service=~"$service"}}[{RATE}]))', "{{service}}"))
    board.graph("Memory", "Resident memory of each service, summed over its replicas.",
                ('sum by (service) (process_resident_memory_bytes{service=~"$service"})', "{{service}}"), unit="bytes")
    board.graph("Store connections", "Share of the pool connections that are in use.",
                ('max by (service, store) (store_pool_connections{state="used", service=~"$service"} '
                 '/ on (service, store, instance) group_left () store_pool_max_connections)', "{{service}} {{store}}"),
                unit="percentunit", maximum=1)
    board.graph("Outbox age", "How long the oldest event has waited for Kafka.",
                ('service:outbox_oldest_age_seconds:max{service=~"$service"}', "{{service}}"), unit="s",
                steps=[(60, RED)])
    board.graph("Consumer lag", "Records that the consumers have not processed.",
                ('sum by (service) (kafka_consumer_lag{service=~"$service"})', "{{service}}"), steps=[(1000, RED)])
    board.graph("Store latency", "The 95th percentile of the duration of commands, by store.",
                (quantile(0.95, "store_query_duration_seconds", 'service=~"$service"', "service, store"),
                 "{{service}} {{store}}"), unit="s")

    board.row("Logs")
    board.logs("Errors", "Lines of all services that contain `error`.",
               '{service=~"user-service|friend-service|chat-service"} |= "error"')
    return board


def objectives():
    """The burn rate of each error budget, and what is left of it. slo.yml defines the objectives and the alerts."""
    budgets = [
        ("Availability", "99.9 % of the responses of each service are no errors (5xx other than 501)", 0.001, "{{service}}",
         "service:slo_availability_errors:ratio_rate", "service:slo_availability_budget:left_30d"),
        ("Sends", "99 % of the messages are committed within 100 ms", 0.01, "sends",
         "slo:send_latency_slow:ratio_rate", "slo:send_latency_budget:left_30d"),
        ("Deliveries", "99 % of the messages are available to live readers within 500 ms", 0.01, "deliveries",
         "slo:delivery_latency_slow:ratio_rate", "slo:delivery_latency_budget:left_30d"),
    ]
    board = Board("bigtech-objectives", "Objectives", "Burn rates and remaining error budgets of the objectives over 30 days.")
    board.row("Left of the error budgets")
    for name, objective, _, _, _, left in budgets:
        board.stat(name, f"{objective}. 100 % if nothing of the budget of 30 days is used; under 0 the objective is missed.",
                   f"min({left})", "percentunit", [(0, RED), (0.1, YELLOW), (0.5, GREEN)], width=6, minimum=None)
    board.stat("Firing alerts of objectives", "Alerts on burn rates that are firing.",
               'count(ALERTS{alertstate="firing", slo=~".+"}) or vector(0)', steps=[(1, RED)], width=6)
    board.row("Burn rates: 1 uses up a budget in 30 days. An alert fires at 14.4 over 1 h and 5 min, and at 6 over 6 h and 30 min.")
    for name, objective, budget, legend, ratio, _ in budgets:
        board.graph(name, f"{objective}. How many times too fast the budget is used, over four windows.",
                    *((f"{ratio}{window} / {budget}", f"{legend} {window}") for window in ("5m", "30m", "1h", "6h")),
                    steps=[(6, YELLOW), (14.4, RED)])
    board.row("Left of the error budgets, over time")
    for name, objective, _, legend, _, left in budgets:
        board.graph(name, f"{objective}. The share of the budget of 30 days that is left.", (left, legend),
                    unit="percentunit", steps=[(0, RED), (0.1, YELLOW), (0.5, GREEN)], maximum=1, minimum=None)
    return board


BOARDS = {
    "user-service": service_board("bigtech-user-service", "User Service", "user-service",
                                  "Accounts, sessions, search, presence.", user_panels, consumes=False),
    "friend-service": service_board("bigtech-friend-service", "Friend Service", "friend-service",
                                    "Requests, friendships, blocks.", friend_panels, consumes=True),
    "chat-service": service_board("bigtech-chat-service", "Chat Service", "chat-service",
                                  "Rooms, messages, live streams.",
                                  chat_panels, consumes=True),
    "infrastructure": infrastructure(),
    "objectives": objectives(),
    "overview": overview(),
}


def main():
    check, stale = "--check" in sys.argv, []
    for name, board in BOARDS.items():
        path = FOLDER / f"{name}.json"
        text = json.dumps(board.document(), indent=2, ensure_ascii=False) + "\n"
        if check and (not path.exists() or path.read_text() != text):
            stale.append(path.name)
        if not check:
            path.write_text(text)
    if stale:
        sys.exit(f"differ from the output of dashboards.py: {', '.join(stale)}")


if __name__ == "__main__":
    main()
