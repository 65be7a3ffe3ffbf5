#!/usr/bin/env python3
"""The Grafana dashboards from one short description: jtav (workers) and jtav-serve (the readers' server).

grafana-dashboard.py                 writes config/grafana/dashboards/*.json
grafana-dashboard.py --check FILE    fails if these files are not what this description gives, and writes every query
                                     into FILE as recording rules, so that promtool can parse them
"""
import json
import pathlib
import sys

TARGETS = pathlib.Path(__file__).resolve().parent.parent / "config/grafana/dashboards"
W = '{instance=~"$instance"}'


def p99(metric, by):
    return quantile(0.99, metric, by)


def quantile(which, metric, by):
    return f'histogram_quantile({which}, sum by (le, {by}) (rate({metric}_bucket{W}[$__rate_interval])))'


def rate(metric, by, extra=""):
    return f'sum by ({by}) (rate({metric}{{instance=~"$instance"{extra}}}[$__rate_interval]))'


# Row title, then panels: (title, unit, width of 24, [(query, legend)], options). A unit is Grafana's name for it.
ROWS = [
    ("Event lag and objectives", [
        ("Oldest unsettled post", "s", 4, [("jtav:event_lag_seconds:max", "")], {"kind": "stat", "steps": [(None, "green"), (5, "orange"), (60, "red")]}),
        ("Labels later than 1 s (1 h)", "percentunit", 4, [("jtav:label_later_than_1s:ratio_rate1h", "")], {"kind": "stat", "steps": [(None, "green"), (0.05, "orange"), (0.3, "red")]}),
        ("Labels later than 30 s (1 h)", "percentunit", 4, [("jtav:label_later_than_30s:ratio_rate1h", "")], {"kind": "stat", "steps": [(None, "green"), (0.001, "orange"), (0.006, "red")]}),
        ("Event lag by partition", "s", 12, [(f"max by (partition) (jtav_event_lag_seconds{W})", "{{partition}}")], {"help": "Age of the oldest post that is not settled. The autoscaler acts on its maximum."}),
        ("Timestamp to label", "s", 12, [
            ("histogram_quantile(0.5, sum by (le) (rate(jtav_event_to_label_seconds_bucket" + W + "[$__rate_interval])))", "p50"),
            ("histogram_quantile(0.95, sum by (le) (rate(jtav_event_to_label_seconds_bucket" + W + "[$__rate_interval])))", "p95"),
            ("histogram_quantile(0.99, sum by (le) (rate(jtav_event_to_label_seconds_bucket" + W + "[$__rate_interval])))", "p99"),
        ], {}),
        ("Burn rate (1 = budget spent exactly at its end)", "none", 12, [
            ("jtav:label_later_than_1s:ratio_rate5m / 0.05", "1 s, 5 min"), ("jtav:label_later_than_1s:ratio_rate1h / 0.05", "1 s, 1 h"), ("jtav:label_later_than_1s:ratio_rate6h / 0.05", "1 s, 6 h"),
            ("jtav:label_later_than_30s:ratio_rate1h / 0.001", "30 s, 1 h"), ("jtav:label_later_than_30s:ratio_rate6h / 0.001", "30 s, 6 h"),
        ], {"help": "Pages at 14.4 over 1 h, tickets at 6 over 6 h."}),
    ]),
    ("Throughput and outcomes", [
        ("Conservation gap", "none", 4, [(f"sum(abs(jtav_conservation_gap{W}))", "")], {"kind": "stat", "steps": [(None, "green"), (1, "red")], "help": "Received minus settled minus in flight. Anything but 0 for a minute is a defect."}),
        ("Published", "ops", 4, [(f'sum(rate(jtav_posts_total{{instance=~"$instance", outcome="published"}}[$__rate_interval]))', "")], {"kind": "stat"}),
        ("Dead-lettered", "percentunit", 4, [("jtav:dead_lettered:ratio_rate5m", "")], {"kind": "stat", "steps": [(None, "green"), (0.05, "orange"), (0.2, "red")]}),
        ("Posts by outcome", "ops", 12, [(rate("jtav_posts_total", "outcome"), "{{outcome}}"), (rate("jtav_ingest_records_total", "job"), "read")], {}),
        ("Dead letters by reason", "ops", 8, [(rate("jtav_dead_letters_total", "stage, reason"), "{{stage}} {{reason}}"), (rate("jtav_ingest_invalid_records_total", "reason"), "invalid: {{reason}}"), (rate("jtav_dead_letters_truncated_total", "job"), "truncated"), (rate("jtav_dead_letters_refused_total", "job"), "refused by the topic")], {}),
        ("In flight", "none", 8, [(f"sum by (instance) (jtav_delivery_in_flight_posts{W})", "{{instance}}")], {}),
        ("Degraded, abandoned, read again", "ops", 8, [(rate("jtav_posts_degraded_total", "job"), "degraded"), (rate("jtav_delivery_abandoned_total", "job"), "abandoned"), (rate("jtav_ingest_rewinds_total", "job"), "rewinds")], {}),
        ("Deadlines and trials", "ops", 12, [(rate("jtav_post_deadlines_total", "stage"), "deadline in {{stage}}"), (rate("jtav_ingest_post_trials_total", "kind, result"), "tried {{kind}}: {{result}}"), (f"sum(jtav_ingest_overdue_posts{W})", "to be tried again")], {"right_axis": "to be tried again", "help": "Posts whose deadline passed, by the stage they were in, and what came of trying them again."}),
        ("Records that expired unread (1 h)", "none", 12, [(f"sum by (partition) (increase(jtav_ingest_expired_records_total{W}[1h]))", "{{partition}}")], {"help": "Offsets that the topic had dropped before they were read. They get no label."}),
        ("Labels by class", "ops", 12, [(rate("jtav_labels_total", "label"), "{{label}}")], {"help": "Published labels, certain or not. A class that grows or vanishes is the feed, or the model."}),
        ("Certain labels, and why others are not", "percentunit", 12, [("jtav:labels_certain:ratio_rate5m", "certain"), ('sum by (certainty) (rate(jtav_labels_total{instance=~"$instance", certainty!="certain"}[$__rate_interval])) / ignoring (certainty) group_left sum(rate(jtav_labels_total' + W + '[$__rate_interval]))', "{{certainty}}")], {"help": "Certain: the model promises its accuracy. 0 with a checkpoint that promises nothing."}),
        ("Why a modality was not there", "ops", 24, [(rate("jtav_modalities_total", "modality, status", ', status!="present"'), "{{modality}} {{status}}")], {}),
    ]),
    ("Stages, encoders, cache", [
        ("Stage time, p99", "s", 12, [(p99("jtav_stage_duration_seconds", "stage"), "{{stage}}"), (p99("jtav_decode_worker_replacement_seconds", "job"), "a decode process replaced")], {}),
        ("Post time, p99", "s", 6, [(p99("jtav_post_duration_seconds", "outcome"), "{{outcome}}")], {}),
        ("Stage failures", "ops", 6, [(rate("jtav_stage_errors_total", "stage, error_code"), "{{stage}} {{error_code}}")], {}),
        ("Encoder: waiting and forward, p99", "s", 8, [(p99("jtav_encoder_queue_wait_seconds", "model"), "{{model}} wait"), (p99("jtav_encoder_forward_seconds", "model"), "{{model}} forward")], {}),
        ("Encoder: mean batch", "none", 8, [(f"sum by (model) (rate(jtav_encoder_batch_items_sum{W}[$__rate_interval])) / sum by (model) (rate(jtav_encoder_batch_items_count{W}[$__rate_interval]))", "{{model}}")], {}),
        ("Queues", "none", 8, [(f"sum by (model) (jtav_encoder_queue_items{W})", "{{model}}"), (f"sum(jtav_decode_queue_items{W})", "decode"), (rate("jtav_decode_worker_ends_total", "cause"), "decode process {{cause}}/s"), (rate("jtav_encoder_bisections_total", "model"), "{{model}} bisections/s")], {}),
        ("Cache hit ratio", "percentunit", 8, [("jtav:cache_hits:ratio_rate5m", "{{modality}}")], {}),
        ("Encodings held and given way", "short", 8, [(f"sum(jtav_cache_bytes{W})", "bytes held"), (rate("jtav_cache_evictions_total", "cause"), "{{cause}}/s")], {"right_axis": "bytes held", "help": "Encodings in the workers' memory, and why some left it: size, age, erased."}),
        ("Media that were not downloaded", "ops", 8, [(rate("jtav_cache_urls_total", "modality, result"), "{{modality}} {{result}}")], {"help": "fresh: the server allowed it; joined: another post was at it; unchanged: the server said so (304); changed: asked, and downloaded after all."}),
        ("Encodings shared among workers", "ops", 8, [(rate("jtav_cache_shared_total", "operation, result"), "{{operation}} {{result}}")], {"help": "Only with cache.shared. An error costs a computation and never a post."}),
        ("Media fetched", "Bps", 8, [(rate("jtav_media_fetched_bytes_total", "modality"), "{{modality}}")], {}),
        ("Media budget and fetch results", "short", 8, [(f"sum(jtav_inflight_bytes{W})", "bytes reserved"), (rate("jtav_media_fetches_total", "modality, result"), "{{modality}} {{result}}/s")], {"right_axis": "bytes reserved"}),
    ]),
    ("Dependencies and process", [
        ("Ready", "none", 4, [(f"sum(jtav_ready{W})", "ready"), (f"count(jtav_ready{W})", "workers")], {"kind": "stat"}),
        ("Version", "none", 8, [(f"count by (version) (jtav_build_info{W})", "program {{version}}"), (f"count by (version, device) (jtav_model_info{W})", "model {{version}} on {{device}}")], {"kind": "stat", "text": "value_and_name"}),
        ("Writes by sink", "ops", 12, [(rate("jtav_publish_records_total", "sink, result"), "{{sink}} {{result}}"), (rate("jtav_publish_retries_total", "sink"), "{{sink}} retries")], {}),
        ("Partitions", "none", 8, [(f"sum by (instance) (jtav_ingest_assigned_partitions{W})", "{{instance}}"), (f"sum(jtav_ingest_paused_partitions{W})", "paused"), (f"max by (cause) (jtav_intake_paused{W})", "intake paused: {{cause}}")], {}),
        ("Rebalances and commits", "ops", 8, [(rate("jtav_ingest_rebalances_total", "kind"), "{{kind}}"), (rate("jtav_ingest_commits_total", "result"), "commit {{result}}"), (rate("jtav_kafka_errors_total", "code"), "error {{code}}")], {}),
        ("Consumer lag", "none", 8, [(f"max by (partition) (jtav_consumer_lag_records{W})", "{{partition}}")], {}),
        ("Restarts of the pipeline", "none", 12, [(f"max by (instance) (jtav_pipeline_generation{W})", "{{instance}} generation"), (f"sum by (reason) (increase(jtav_pipeline_restarts_total{W}[$__rate_interval]))", "{{reason}}")], {}),
        ("Boxes without progress", "s", 12, [(f"max by (instance, box) (jtav_box_progress_age_seconds{W})", "{{instance}} {{box}}")], {"help": "Time since a thread of actors last answered, or at the batch that a device runs."}),
        ("Erasures after a change of the store's server", "ops", 24, [(rate("jtav_erasures_restored_total", "result"), "{{result}}"), (rate("jtav_erasures_unreplicated_total", "instance"), "{{instance}}: too few replicas"), (f"sum(jtav_erasure_repair_due{W})", "workers that look after them")], {"right_axis": "workers that look after them", "help": "restored: it was lost in a failover or restart and is carried out again; standing: it was not lost."}),
        ("Drain time, p99", "s", 12, [(p99("jtav_drain_duration_seconds", "cause"), "{{cause}}")], {}),
    ]),
]

SERVE_ROWS = [
    ("Readers' requests", [
        ("Servers", "none", 4, [(f"sum(jtav_query_ready{W})", "ready"), (f"count(jtav_query_ready{W})", "servers")], {"kind": "stat"}),
        ("Failed (5 min)", "percentunit", 4, [("jtav:query_errors:ratio_rate5m", "")], {"kind": "stat", "steps": [(None, "green"), (0.001, "orange"), (0.01, "red")], "help": "Answers of 5xx but 503, of all but probes and scrapes."}),
        ("Look-ups later than 1 s (5 min)", "percentunit", 4, [("jtav:query_later_than_1s:ratio_rate5m", "")], {"kind": "stat", "steps": [(None, "green"), (0.01, "orange"), (0.05, "red")]}),
        ("Requests by route", "reqps", 12, [(rate("jtav_query_duration_seconds_count", "route"), "{{route}}")], {}),
        ("Answers that are no answer", "reqps", 12, [(rate("jtav_query_duration_seconds_count", "route, result", ', result!~"ok|not_found"'), "{{route}} {{result}}")], {"help": "refused: 4xx; busy: 429 and 503, come again; error: ours."}),
        ("Refused before they were looked at", "reqps", 12, [(rate("jtav_query_refused_total", "cause"), "{{cause}}")], {"help": "key_…: 401; scope, read_only: 403; rate: 429; host: 421; timeout: 503."}),
        ("Time to the answer, p50", "s", 12, [(quantile(0.5, "jtav_query_duration_seconds", "route"), "{{route}}")], {}),
        ("Time to the answer, p99", "s", 12, [(quantile(0.99, "jtav_query_duration_seconds", "route"), "{{route}}")], {"help": "Of the stream, to its first byte."}),
    ]),
    ("Stream", [
        ("Readers", "none", 8, [(f"sum by (instance) (jtav_stream_readers{W})", "{{instance}}")], {"help": "serve.max_streams bounds each server's; the autoscaler acts on their mean."}),
        ("Streams that ended", "ops", 8, [(rate("jtav_stream_ends_total", "cause"), "{{cause}}")], {"help": "gone: the reader went; too_slow, stuck: it was let go and told where to go on; unreadable: what it missed could not be read; shutdown: the server ended."}),
        ("No place for a stream", "ops", 8, [(rate("jtav_query_duration_seconds_count", "instance", ', route="stream", result="busy"'), "{{instance}}")], {}),
        ("Read from the topic of labels", "ops", 12, [(rate("jtav_stream_events_total", "instance, kind"), "{{instance}} {{kind}}")], {"help": "Every server reads all of it: lines of one kind that part are a server that is behind."}),
        ("Behind the topics", "s", 12, [(f"max by (instance, topic) (jtav_query_follow_age_seconds{W})", "{{instance}} {{topic}}"), (f"min by (instance, topic) (jtav_query_following{W}) == 0", "{{instance}} does not follow {{topic}}")], {"help": "Age of the last record that was handed on; high while an index is being filled."}),
    ]),
    ("Neighbours", [
        ("Complete", "none", 4, [(f"sum(jtav_index_complete{W})", "complete"), (f"count(jtav_index_complete{W})", "with an index")], {"kind": "stat"}),
        ("Bytes of the index", "bytes", 10, [(f"max by (instance) (jtav_index_bytes{W})", "{{instance}}")], {"help": "index.max_bytes bounds it; then the oldest hour gives way."}),
        ("How far back it reaches", "s", 10, [(f"min by (instance) (jtav_index_reach_seconds{W})", "{{instance}}")], {"help": "Less than index.window_hours: a young server, a young topic, or index.max_bytes is reached."}),
        ("Vectors by kind", "short", 12, [(f"max by (kind) (jtav_index_vectors{W})", "{{kind}}")], {}),
        ("Records that the index could not take", "ops", 12, [(rate("jtav_index_refused_vectors_total", "instance"), "{{instance}}")], {}),
    ]),
    ("What costs networks or foreign servers", [
        ("Places taken", "none", 8, [(f"sum by (instance, room) (jtav_query_places_taken{W})", "{{instance}} {{room}}")], {"help": "serve.max_label_posts and serve.max_media bound them; nobody waits for a place, who finds none is told to come again."}),
        ("Told to come again", "percentunit", 8, [("jtav:query_busy:ratio_rate15m", "{{route}}")], {}),
        ("Boxes of the judge that broke (30 min)", "none", 8, [(f"sum by (instance) (increase(jtav_query_judge_restarts_total{W}[30m]))", "{{instance}}")], {}),
        ("Media fetched for readers", "ops", 12, [(rate("jtav_media_fetches_total", "modality, result"), "{{modality}} {{result}}")], {}),
        ("Decode processes that ended with a medium in hand", "ops", 12, [(rate("jtav_decode_worker_ends_total", "cause"), "{{cause}}")], {}),
    ]),
    ("Keys, certificate, process", [
        ("Files that cannot be read again", "none", 6, [(f"max by (file) (jtav_query_file_stale{W})", "{{file}}")], {"kind": "stat", "steps": [(None, "green"), (1, "red")], "help": "1: what the file held before serves on; a key that was taken out still opens."}),
        ("Certificate ends in", "s", 6, [(f"min(jtav_query_certificate_end_timestamp_seconds{W}) - time()", "")], {"kind": "stat", "steps": [(None, "red"), (172800, "orange"), (1209600, "green")]}),
        ("Version", "none", 12, [(f"count by (version) (jtav_build_info{W})", "program {{version}}"), (f"count by (version, device) (jtav_model_info{W})", "model {{version}} on {{device}}")], {"kind": "stat", "text": "value_and_name"}),
        ("CPU", "none", 8, [(f"sum by (instance) (rate(process_cpu_seconds_total{W}[$__rate_interval]))", "{{instance}}")], {"help": "Cores."}),
        ("Resident memory", "bytes", 8, [(f"max by (instance) (process_resident_memory_bytes{W})", "{{instance}}")], {}),
        ("Files and sockets", "none", 8, [(f"max by (instance) (process_open_fds{W})", "{{instance}}"), (f"min(process_max_fds{W})", "limit")], {"help": "Each reader is one."}),
    ]),
]

DATASOURCE = {"type": "prometheus", "uid": "jtav-prometheus"}


def panel(number, title, unit, width, height, x, y, queries, options):
    kind = options.get("kind", "timeseries")
    defaults = {"unit": unit, "min": 0}
    if "steps" in options:
        defaults["thresholds"] = {"mode": "absolute", "steps": [{"color": colour, "value": value} for value, colour in options["steps"]]}
    if kind == "timeseries":
        defaults["custom"] = {"fillOpacity": 8, "lineWidth": 1, "showPoints": "never", "spanNulls": False}
        detail = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}, "tooltip": {"mode": "multi", "sort": "desc"}}
    else:
        detail = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "colorMode": "background" if "steps" in options else "value",
                  "graphMode": "none", "textMode": options.get("text", "auto")}
    overrides = []
    if "right_axis" in options:
        overrides = [{"matcher": {"id": "byName", "options": options["right_axis"]},
                      "properties": [{"id": "unit", "value": "bytes"}, {"id": "custom.axisPlacement", "value": "right"}]}]
    return {
        "id": number, "type": kind, "title": title, "description": options.get("help", ""), "datasource": DATASOURCE,
        "gridPos": {"h": height, "w": width, "x": x, "y": y},
        "targets": [{"refId": chr(ord("A") + i), "datasource": DATASOURCE, "expr": expr, "legendFormat": legend or "__auto", "range": kind == "timeseries", "instant": kind != "timeseries"}
                    for i, (expr, legend) in enumerate(queries)],
        "fieldConfig": {"defaults": defaults, "overrides": overrides},
        "options": detail,
    }


def dashboard(uid, rows, whose, up):
    """`whose` instances the variable lists: those that have the metric `up`."""
    panels, number, y = [], 1, 0
    for title, row in rows:
        panels.append({"id": number, "type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}})
        number, x, y = number + 1, 0, y + 1
        for name, unit, width, queries, options in row:
            if x + width > 24:
                x, y = 0, y + 8
            panels.append(panel(number, name, unit, width, 8, x, y, queries, options))
            number, x = number + 1, x + width
        y += 8
    return {
        "uid": uid, "title": uid, "tags": ["jtav"], "timezone": "browser", "schemaVersion": 38, "version": 1, "editable": False,
        "refresh": "15s", "time": {"from": "now-1h", "to": "now"}, "graphTooltip": 1,
        "annotations": {"list": [{"name": "Alerts", "enable": True, "hide": False, "iconColor": "red", "datasource": DATASOURCE,
                                  "expr": 'ALERTS{alertname=~"Jtav.*", alertstate="firing"}', "titleFormat": "{{alertname}}", "textFormat": "{{severity}}"}]},
        "templating": {"list": [{"name": "instance", "label": whose, "type": "query", "datasource": DATASOURCE, "refresh": 2, "sort": 1,
                                 "query": {"query": f"label_values({up}, instance)", "refId": "instance"},
                                 "includeAll": True, "multi": True, "allValue": ".*", "current": {"selected": True, "text": ["All"], "value": ["$__all"]}}]},
        "panels": panels,
    }


def main():
    boards = [dashboard("jtav", ROWS, "worker", "jtav_ready"), dashboard("jtav-serve", SERVE_ROWS, "server", "jtav_query_ready")]
    texts = {TARGETS / f"{board['uid']}.json": json.dumps(board, indent=2) + "\n" for board in boards}
    if sys.argv[1:2] == ["--check"]:
        for target, text in texts.items():
            if not target.exists() or target.read_text() != text:
                sys.exit(f"{target} is not what scripts/grafana-dashboard.py gives: run it and commit the result")
        queries = [target["expr"] for board in boards for p in board["panels"] for target in p.get("targets", [])]
        rules = [{"record": f"dashboard:query:{i}", "expr": q.replace("$__rate_interval", "1m").replace("$instance", ".*")} for i, q in enumerate(queries)]
        # JSON is YAML.
        pathlib.Path(sys.argv[2]).write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        TARGETS.mkdir(parents=True, exist_ok=True)
        for target, text in texts.items():
            target.write_text(text)


if __name__ == "__main__":
    main()
