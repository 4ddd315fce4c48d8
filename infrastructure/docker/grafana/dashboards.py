#!/usr/bin/env python3
"""Writes the boards in dashboards/, all in one style: python3 dashboards.py. With --check it only says whether they are
as this script would write them."""

import json
import pathlib
import sys

FOLDER = pathlib.Path(__file__).parent / "dashboards"
PROMETHEUS = {"type": "prometheus", "uid": "prometheus"}
LOKI = {"type": "loki", "uid": "loki"}
WIDTH = 24

GREEN, YELLOW, RED = "green", "yellow", "red"


class Board:
    """Panels, placed in rows from left to right."""

    def __init__(self, uid, title, description, variables=()):
        self.uid, self.title, self.description, self.variables = uid, title, description, list(variables)
        self.panels, self.x, self.y, self.height = [], 0, 0, 0

    def row(self, title):
        self._break()
        self._add({"type": "row", "title": title, "collapsed": False, "panels": []}, WIDTH, 1)
        self._break()

    def stat(self, title, description, expr, unit="short", steps=None, width=4, mappings=None, legend=""):
        options = {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "background" if steps else "value",
            "graphMode": "area",
            "textMode": "value_and_name" if legend else "auto",
        }
        self._panel("stat", title, description, [(expr, legend)], unit, steps, options, width, 4, mappings)

    def graph(self, title, description, *targets, unit="short", steps=None, width=8, stack=False, maximum=None):
        options = {
            "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
        custom = {"fillOpacity": 20 if stack else 8, "showPoints": "never", "lineWidth": 1}
        if stack:
            custom["stacking"] = {"mode": "normal", "group": "A"}
        if steps:
            custom["thresholdsStyle"] = {"mode": "line"}
        self._panel("timeseries", title, description, targets, unit, steps, options, width, 8, None, custom, maximum)

    def logs(self, title, description, expr):
        options = {"showTime": True, "wrapLogMessage": True, "enableLogDetails": True, "sortOrder": "Descending"}
        target = {"refId": "A", "datasource": LOKI, "expr": expr, "queryType": "range"}
        panel = {"type": "logs", "title": title, "description": description, "datasource": LOKI}
        self._add(panel | {"targets": [target], "options": options}, WIDTH, 9)

    def _panel(self, kind, title, description, targets, unit, steps, options, width, height, mappings, custom=None,
               maximum=None):
        assert description, title
        defaults = {"unit": unit, "min": 0, "thresholds": thresholds(steps), "mappings": mappings or []}
        if not steps and kind == "timeseries":
            defaults["color"] = {"mode": "palette-classic"}
        if custom:
            defaults["custom"] = custom
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
        place = {"x": self.x, "y": self.y, "w": width, "h": height}
        self.panels.append({"id": len(self.panels) + 1, **panel, "gridPos": place})
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
            "annotations": {"list": [alerts()]},
            "links": [{
                "title": "Boards", "type": "dashboards", "tags": ["bigtech-chat"], "asDropdown": True,
                "includeVars": False, "keepTime": True,
            }],
            "panels": self.panels,
        }


def target(n, expr, legend):
    return {"refId": chr(ord("A") + n), "datasource": PROMETHEUS, "expr": expr, "legendFormat": legend or "__auto"}


def thresholds(steps):
    """Green, and from the given values on another colour."""
    colours = [{"color": GREEN, "value": None}]
    return {"mode": "absolute", "steps": colours + [{"color": colour, "value": value} for value, colour in steps or []]}


def variable(name, label, query):
    return {
        "name": name, "label": label, "type": "query", "datasource": PROMETHEUS, "query": query, "refresh": 2, "sort": 1,
        "multi": True, "includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"},
    }


def alerts():
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
    """Zero where nothing failed, and nothing where nothing was asked."""
    all_requests = f"sum(rate(http_requests_total{{{matchers}}}[{RATE}]))"
    failed = f'sum(rate(http_requests_total{{{matchers}, status=~"5.."}}[{RATE}]))'
    return f"({failed} or 0 * {all_requests}) / ({all_requests} > 0)"


def service_board(uid, title, service, description, own, consumes):
    """What every service has, around what is its own."""
    board = Board(uid, title, description, [
        variable("instance", "Replica", f'label_values(up{{job="{service}"}}, instance)'),
    ])
    me = f'service="{service}", instance=~"$instance"'
    board.row("Now")
    board.stat("Status", "Whether Prometheus reaches every replica.", f'min(up{{job="{service}", instance=~"$instance"}})',
               mappings=DOWN, steps=[(0, RED), (1, GREEN)])
    board.stat("Request rate", "Requests answered a second.", f"sum(rate(http_requests_total{{{me}}}[{RATE}]))", "reqps")
    board.stat("Error share", "Share of the answers that are 5xx.", error_share(me), "percentunit", ERROR_STEPS)
    board.stat("p95", "95 of 100 answers take no longer than this.",
               f"histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket{{{me}}}[{RATE}])))", "s",
               LATENCY_STEPS)
    board.stat("Oldest event in the outbox", "For how long a committed event has waited for Kafka.",
               f"max(outbox_oldest_age_seconds{{{me}}})", "s", AGE_STEPS)
    board.stat("Version", "What runs here.", f"count by (version) (service_build_info{{{me}}})", legend="{{version}}")

    own(board, me)

    board.row("Requests")
    board.graph("By endpoint", "Requests a second by route template.",
                (f"sum by (method, path) (rate(http_requests_total{{{me}}}[{RATE}]))", "{{method}} {{path}}"), unit="reqps")
    board.graph("By method", "Requests a second by method.",
                (f"sum by (method) (rate(http_requests_total{{{me}}}[{RATE}]))", "{{method}}"), unit="reqps", stack=True)
    board.graph("By status", "Requests a second by the answer's status.",
                (f"sum by (status) (rate(http_requests_total{{{me}}}[{RATE}]))", "{{status}}"), unit="reqps", stack=True)
    board.graph("Latency", "How long answers take: half, 95 and 99 of 100. Live streams count until their first byte.",
                *quantiles("http_request_duration_seconds", me), unit="s", steps=[(1, RED)])
    board.graph("Latency by endpoint", "The 95th percentile of each route.",
                (quantile(0.95, "http_request_duration_seconds", me, "method, path"), "{{method}} {{path}}"), unit="s",
                steps=[(1, RED)])
    board.graph("Error rate", "Share of the answers that are 5xx; the alert is at 5 %.", (error_share(me), "5xx"),
                unit="percentunit", steps=[(0.05, RED)])

    board.row("Saturation")
    board.graph("CPU", "Cores used by each replica; the alert is at 0.8.",
                (f"rate(process_cpu_seconds_total{{{me}}}[{RATE}])", "{{instance}}"), steps=[(0.8, RED)])
    board.graph("Memory", "Resident memory of each replica; the alert is at 500 MB.",
                (f"process_resident_memory_bytes{{{me}}}", "{{instance}}"), unit="bytes", steps=[(500_000_000, RED)])
    board.graph("Open files", "File descriptors in use and allowed.",
                (f"process_open_fds{{{me}}}", "{{instance}} open"), (f"process_max_fds{{{me}}}", "{{instance}} allowed"))
    board.graph("Connections to stores", "Used connections against what the pool may open.",
                (f'store_pool_connections{{{me}, state="used"}}', "{{store}} used {{instance}}"),
                (f"store_pool_max_connections{{{me}}}", "{{store}} at most {{instance}}"))
    board.graph("Store latency", "The 95th percentile of the commands to each store.",
                (quantile(0.95, "store_query_duration_seconds", me, "store, operation"), "{{store}} {{operation}}"), unit="s")
    board.graph("Runtime", "Tasks that live, and tasks that are ready and wait for a thread.",
                (f"runtime_tasks{{{me}}}", "live {{instance}}"), (f"runtime_queue_length{{{me}}}", "waiting {{instance}}"))
    board.graph("Cache hit rate", "Share of the look-ups that a cache could answer.",
                (f'sum by (cache) (rate(cache_requests_total{{{me}, outcome="hit"}}[{RATE}])) '
                 f"/ (sum by (cache) (rate(cache_requests_total{{{me}}}[{RATE}])) > 0)", "{{cache}}"),
                unit="percentunit", maximum=1)
    board.graph("Without Redis", "1 while ended sessions cannot be looked up and signatures alone decide.",
                (f"auth_degraded{{{me}}}", "{{instance}}"), steps=[(1, RED)], maximum=1)

    board.row("Events")
    board.graph("Published", "Records a second that Kafka has acknowledged.",
                (f"sum by (topic) (rate(kafka_events_published_total{{{me}}}[{RATE}]))", "{{topic}}"), unit="cps")
    if consumes:
        board.graph("Worked off", "Records a second, by consumer group. The live fan-out is a group of its own.",
                    (f"sum by (group, topic) (rate(kafka_events_consumed_total{{{me}}}[{RATE}]))", "{{group}} {{topic}}"),
                    unit="cps")
        board.graph("Consumer lag", "Records behind the end of the topic; the alert is at 1,000.",
                    (f"sum by (group, topic) (kafka_consumer_lag{{{me}}})", "{{group}} {{topic}}"), steps=[(1000, RED)])
    board.graph("Waiting in the outbox", "Committed events that Kafka does not have yet.",
                (f"max by (outbox) (outbox_pending{{{me}}})", "{{outbox}}"))
    board.graph("Age of the oldest", "For how long the oldest of them has waited; the alert is at 60 s.",
                (f"max by (outbox) (outbox_oldest_age_seconds{{{me}}})", "{{outbox}}"), unit="s", steps=[(60, RED)])

    board.row("Logs")
    board.logs("Warnings and errors", "Each line leads by its trace_id to the request's trace.",
               f'{{service="{service}"}} | json | level=~"warn|error"')
    return board


def of_users(board, me):
    board.row("People")
    board.graph("Registrations", "Sign-ups a minute, by how they ended.",
                (f"sum by (status) (rate(user_registration_total{{{me}}}[{RATE}])) * 60", "{{status}}"), unit="cpm")
    board.graph("Logins", "Logins a minute, by how they ended.",
                (f"sum by (status) (rate(user_login_total{{{me}}}[{RATE}])) * 60", "{{status}}"), unit="cpm")
    board.graph("People online", "As user-service counts them; every replica counts the same.",
                (f"max(online_users_count{{{me}}})", "online"))
    board.graph("Search latency", "How long a search for people takes.",
                *quantiles("user_search_duration_seconds", me), unit="s")
    board.graph("Passwords waiting", "Logins and sign-ups that wait for a thread to hash; a full queue answers 503.",
                (f"password_queue_length{{{me}}}", "{{instance}}"))
    board.graph("Anonymous service calls", "Calls between services without credentials, while those are allowed.",
                (f"rate(anonymous_service_calls_total{{{me}}}[{RATE}])", "{{instance}}"), unit="reqps")


def of_friends(board, me):
    board.row("Friendships")
    board.graph("Requests", "Friend requests a minute, by what became of them.",
                (f"sum by (status) (rate(friend_request_total{{{me}}}[{RATE}])) * 60", "{{status}}"), unit="cpm")
    board.graph("Acceptance rate", "Of the requests that were answered, the share that was accepted, over an hour.",
                (f'sum(increase(friend_request_total{{{me}, status="accepted"}}[1h])) '
                 f'/ (sum(increase(friend_request_total{{{me}, status=~"accepted|rejected"}}[1h])) > 0)', "accepted"),
                unit="percentunit", maximum=1)
    board.graph("API traffic", "Requests a second to the friends' routes.",
                (f'sum by (path) (rate(http_requests_total{{{me}, path=~"/friends.*"}}[{RATE}]))', "{{path}}"), unit="reqps")
    calls_of(board, me)


def of_chat(board, me):
    board.row("Chat")
    board.graph("Messages", "Messages accepted a second, by type.",
                (f"sum by (message_type) (rate(message_sent_total{{{me}}}[{RATE}]))", "{{message_type}}"), unit="cps",
                stack=True)
    board.graph("Rooms created", "New rooms a minute, by type.",
                (f"sum by (room_type) (rate(chat_room_created_total{{{me}}}[{RATE}])) * 60", "{{room_type}}"), unit="cpm")
    board.graph("SSE connections", "Open live streams of each replica.",
                (f"active_sse_connections{{{me}}}", "{{instance}}"))
    board.graph("Send latency", "From a message's arrival to its commit. The objective: 99 of 100 within 100 ms.",
                *quantiles("message_processing_duration_seconds", me), unit="s", steps=[(0.1, RED)])
    board.graph("Delivery latency", "From a message's arrival until readers can have it. The objective: 99 of 100 within 500 ms.",
                *quantiles("message_delivery_duration_seconds", me), unit="s", steps=[(0.5, RED)])
    board.graph("Active rooms", "Rooms to which someone listens, on each replica.",
                (f"active_chat_rooms{{{me}}}", "{{instance}}"))
    board.graph("Writer's queue", "Changes that wait for the replica's writer; at 1,000 senders are told to come back.",
                (f"message_queue_length{{{me}}}", "{{instance}}"), steps=[(1000, RED)])
    board.graph("Commits", "How long the writer's transaction takes, and how many there are.",
                (f'histogram_quantile(0.95, sum by (le) (rate(store_query_duration_seconds_bucket{{{me}, '
                 f'store="mongodb", operation="transaction"}}[{RATE}])))', "p95"), unit="s")
    calls_of(board, me)


def calls_of(board, me):
    board.graph("Calls to user-service", "Tries a second, by how they ended.",
                (f"sum by (call, outcome) (rate(user_service_calls_total{{{me}}}[{RATE}]))", "{{call}} {{outcome}}"),
                unit="reqps")
    board.graph("Latency of these calls", "The 95th percentile of one try.",
                (quantile(0.95, "user_service_call_duration_seconds", me, "call"), "{{call}}"), unit="s")
    board.graph("Calls rest", "1 while user-service is not called because it failed.",
                (f"user_service_circuit_open{{{me}}}", "{{instance}}"), steps=[(1, RED)], maximum=1)


def infrastructure():
    board = Board("bigtech-infrastructure", "Infrastructure", "MySQL, MongoDB, Redis, Kafka and Kong, as their exporters see them.",
                  [variable("topic", "Topic", "label_values(kafka_topic_partition_current_offset, topic)")])
    board.row("Now")
    board.stat("MySQL", "Whether it answers its exporter.", "min(mysql_up)", mappings=DOWN, steps=[(0, RED), (1, GREEN)])
    board.stat("MongoDB", "Whether it answers its exporter.", "min(mongodb_up)", mappings=DOWN, steps=[(0, RED), (1, GREEN)])
    board.stat("Redis", "Whether it answers its exporter.", "min(redis_up)", mappings=DOWN, steps=[(0, RED), (1, GREEN)])
    board.stat("Kafka brokers", "Brokers that live.", "max(kafka_brokers)", steps=[(0, RED), (1, GREEN)])
    board.stat("Kong", "Whether Prometheus reaches its status port.", 'min(up{job="kong"})', mappings=DOWN,
               steps=[(0, RED), (1, GREEN)])
    board.stat("Under-replicated partitions", "Partitions of Kafka that lack a copy.",
               "sum(kafka_topic_partition_under_replicated_partition)", steps=[(1, RED)])

    board.row("MySQL")
    board.graph("Connections", "Open, running, and allowed.", ("mysql_global_status_threads_connected", "open"),
                ("mysql_global_status_threads_running", "running"), ("mysql_global_variables_max_connections", "allowed"))
    board.graph("Throughput", "Statements a second.", (f"rate(mysql_global_status_queries[{RATE}])", "statements"), unit="cps")
    board.graph("Statements", "By kind, a second.",
                (f'sum by (command) (rate(mysql_global_status_commands_total{{command=~"select|insert|update|delete|commit|rollback"}}[{RATE}]))',
                 "{{command}}"), unit="cps")
    board.graph("Buffer pool hit rate", "Share of the page reads that needed no disk.",
                (f"1 - rate(mysql_global_status_innodb_buffer_pool_reads[{RATE}]) "
                 f"/ (rate(mysql_global_status_innodb_buffer_pool_read_requests[{RATE}]) > 0)", "hits"),
                unit="percentunit", maximum=1)
    board.graph("Memory", "The buffer pool: what is used of it.",
                ("mysql_global_status_innodb_buffer_pool_bytes_data", "used"),
                ("mysql_global_variables_innodb_buffer_pool_size", "size"), unit="bytes")
    board.graph("Row lock waits", "A second.", (f"rate(mysql_global_status_innodb_row_lock_waits[{RATE}])", "waits"), unit="cps")

    board.row("MongoDB")
    board.graph("Connections", "Open and left.", ('mongodb_ss_connections{conn_type="current"}', "open"),
                ('mongodb_ss_connections{conn_type="available"}', "left"))
    board.graph("Throughput", "Operations a second.", (f"sum by (legacy_op_type) (rate(mongodb_ss_opcounters[{RATE}]))",
                "{{legacy_op_type}}"), unit="ops")
    board.graph("Memory", "Resident memory, and what the cache holds.",
                ("mongodb_ss_mem_resident * 1024 * 1024", "resident"),
                ("mongodb_ss_wt_cache_bytes_currently_in_the_cache", "cache"), unit="bytes")
    board.graph("Cache hit rate", "Share of the page requests that needed no disk.",
                (f"1 - rate(mongodb_ss_wt_cache_pages_read_into_cache[{RATE}]) "
                 f"/ (rate(mongodb_ss_wt_cache_pages_requested_from_the_cache[{RATE}]) > 0)", "hits"),
                unit="percentunit", maximum=1)
    board.graph("Transactions", "Committed and aborted a second.",
                (f"rate(mongodb_ss_transactions_totalCommitted[{RATE}])", "committed"),
                (f"rate(mongodb_ss_transactions_totalAborted[{RATE}])", "aborted"), unit="cps")
    board.graph("Documents", "Touched a second.", (f"sum by (doc_op_type) (rate(mongodb_ss_metrics_document[{RATE}]))",
                "{{doc_op_type}}"), unit="cps")

    board.row("Redis")
    board.graph("Connections", "Clients.", ("redis_connected_clients", "clients"), ("redis_blocked_clients", "blocked"))
    board.graph("Throughput", "Commands a second.", (f"rate(redis_commands_processed_total[{RATE}])", "commands"), unit="ops")
    board.graph("Memory", "Used, and allowed; 0 means without a limit.", ("redis_memory_used_bytes", "used"),
                ("redis_memory_max_bytes", "allowed"), unit="bytes")
    board.graph("Hit rate", "Share of the look-ups that found a key.",
                (f"rate(redis_keyspace_hits_total[{RATE}]) / "
                 f"((rate(redis_keyspace_hits_total[{RATE}]) + rate(redis_keyspace_misses_total[{RATE}])) > 0)", "hits"),
                unit="percentunit", maximum=1)
    board.graph("Keys", "By database.", ("redis_db_keys > 0", "{{db}}"))
    board.graph("Evicted and expired", "Keys a second. Evictions mean that memory is short.",
                (f"rate(redis_evicted_keys_total[{RATE}])", "evicted"), (f"rate(redis_expired_keys_total[{RATE}])", "expired"),
                unit="cps")

    board.row("Kafka")
    board.graph("Throughput", "Records a second, by topic.",
                (f'sum by (topic) (rate(kafka_topic_partition_current_offset{{topic=~"$topic", topic!~"__.*"}}[{RATE}]))',
                 "{{topic}}"), unit="cps")
    board.graph("Consumer lag", "Records that a group has not worked off; the alert is at 1,000.",
                ("sum by (consumergroup, topic) (kafka_consumergroup_lag)", "{{consumergroup}} {{topic}}"),
                ("sum by (group, topic) (kafka_consumer_lag)", "{{group}} {{topic}} (as the service sees it)"),
                steps=[(1000, RED)])
    board.graph("Brokers", "Those that live, and partitions that lack a copy.", ("max(kafka_brokers)", "brokers"),
                ("sum(kafka_topic_partition_under_replicated_partition)", "under-replicated"))

    board.row("Kong")
    board.graph("Requests", "A second, by service and status.",
                (f"sum by (service, code) (rate(kong_http_requests_total[{RATE}]))", "{{service}} {{code}}"), unit="reqps")
    board.graph("Latency", "The 95th percentile: all of it, and the part of the service behind.",
                (f"histogram_quantile(0.95, sum by (le, service) (rate(kong_request_latency_ms_bucket[{RATE}])))", "{{service}}"),
                (f"histogram_quantile(0.95, sum by (le, service) (rate(kong_upstream_latency_ms_bucket[{RATE}])))",
                 "{{service}} upstream"), unit="ms")
    board.graph("Bandwidth", "Bytes a second, in and out.",
                (f"sum by (direction) (rate(kong_bandwidth_bytes[{RATE}]))", "{{direction}}"), unit="Bps")
    return board


def overview():
    services = ("user-service", "friend-service", "chat-service")
    board = Board("bigtech-msa-overview", "Overview", "Whether all is well, and where it is not.",
                  [variable("service", "Service", "label_values(service_build_info, service)")])
    board.row("Services")
    for service in services:
        name = service.removesuffix("-service").capitalize()
        board.stat(f"{name}: up", "Whether Prometheus reaches every replica.", f'min(up{{job="{service}"}})',
                   mappings=DOWN, steps=[(0, RED), (1, GREEN)])
        board.stat(f"{name}: error share", "Share of the answers that are 5xx, over five minutes.",
                   f'service:http_errors:ratio_rate5m{{service="{service}"}}', "percentunit", ERROR_STEPS, width=5)
        board.stat(f"{name}: p95", "95 of 100 answers take no longer than this.",
                   f'service:http_request_duration_seconds:p95_5m{{service="{service}"}}', "s", LATENCY_STEPS, width=5)
        board.stat(f"{name}: outbox age", "For how long a committed event has waited for Kafka.",
                   f'service:outbox_oldest_age_seconds:max{{service="{service}"}}', "s", AGE_STEPS, width=5)
        board.stat(f"{name}: lag", "Records that its consumers have not worked off; user-service has none.",
                   f'sum(kafka_consumer_lag{{service="{service}"}}) or vector(0)', "short", LAG_STEPS, width=5)

    board.row("Alerts and objectives")
    board.stat("Firing alerts", "Alerts that fire now.", 'count(ALERTS{alertstate="firing"}) or vector(0)', steps=[(1, RED)])
    board.stat("Availability, 6 h", "Share of the answers that were no 5xx; the objective is 99.9 %.",
               "1 - max(service:slo_availability_errors:ratio_rate6h)", "percentunit",
               [(0, RED), (0.999, GREEN)], width=5)
    board.stat("Sends within 100 ms, 6 h", "The objective is 99 %.", "1 - slo:send_latency_slow:ratio_rate6h", "percentunit",
               [(0, RED), (0.99, GREEN)], width=5)
    board.stat("Deliveries within 500 ms, 6 h", "The objective is 99 %.", "1 - slo:delivery_latency_slow:ratio_rate6h",
               "percentunit", [(0, RED), (0.99, GREEN)], width=5)
    board.stat("People online", "As user-service counts them.", "max(online_users_count)", width=5)

    board.row("Traffic")
    board.graph("Requests", "Requests a second.",
                (f'sum by (service) (rate(http_requests_total{{service=~"$service"}}[{RATE}]))', "{{service}}"), unit="reqps",
                stack=True)
    board.graph("Error share", "Share of the answers that are 5xx; the alert is at 5 %.",
                ('service:http_errors:ratio_rate5m{service=~"$service"}', "{{service}}"), unit="percentunit",
                steps=[(0.05, RED)])
    board.graph("p95", "The 95th percentile of the latency; the alert is at 1 s.",
                ('service:http_request_duration_seconds:p95_5m{service=~"$service"}', "{{service}}"), unit="s",
                steps=[(1, RED)])
    board.graph("Messages", "Messages accepted a second.", (f"sum(rate(message_sent_total[{RATE}]))", "messages"), unit="cps")
    board.graph("Delivery latency", "From a message's arrival until readers can have it.",
                *quantiles("message_delivery_duration_seconds", ""), unit="s", steps=[(0.5, RED)])
    board.graph("SSE connections", "Open live streams.", ("sum(active_sse_connections)", "streams"))

    board.row("Saturation")
    board.graph("CPU", "Cores used.",
                (f'sum by (service) (rate(process_cpu_seconds_total{{service=~"$service"}}[{RATE}]))', "{{service}}"))
    board.graph("Memory", "Resident memory of all replicas.",
                ('sum by (service) (process_resident_memory_bytes{service=~"$service"})', "{{service}}"), unit="bytes")
    board.graph("Pools", "Share of the connections to a store that are used.",
                ('max by (service, store) (store_pool_connections{state="used", service=~"$service"} '
                 '/ on (service, store, instance) group_left () store_pool_max_connections)', "{{service}} {{store}}"),
                unit="percentunit", maximum=1)
    board.graph("Outbox age", "For how long the oldest event has waited for Kafka.",
                ('service:outbox_oldest_age_seconds:max{service=~"$service"}', "{{service}}"), unit="s", steps=[(60, RED)])
    board.graph("Consumer lag", "Records that are not worked off.",
                ('sum by (service) (kafka_consumer_lag{service=~"$service"})', "{{service}}"), steps=[(1000, RED)])
    board.graph("Store latency", "The 95th percentile of the commands to each store.",
                (quantile(0.95, "store_query_duration_seconds", 'service=~"$service"', "service, store"),
                 "{{service}} {{store}}"), unit="s")

    board.row("Logs")
    board.logs("Errors", "Of all services.", '{service=~"user-service|friend-service|chat-service"} |= "error"')
    return board


BOARDS = {
    "user-service": service_board("bigtech-user-service", "User Service", "user-service",
                                  "Accounts, sessions, search, presence.", of_users, consumes=False),
    "friend-service": service_board("bigtech-friend-service", "Friend Service", "friend-service",
                                    "Requests, friendships, blocks.", of_friends, consumes=True),
    "chat-service": service_board("bigtech-chat-service", "Chat Service", "chat-service", "Rooms, messages, live streams.",
                                  of_chat, consumes=True),
    "infrastructure": infrastructure(),
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
        sys.exit(f"not as dashboards.py writes them: {', '.join(stale)}")


if __name__ == "__main__":
    main()
