#!/usr/bin/env bash
# Prometheus' own tool on the configuration, the rules, the rules' tests and the dashboard's queries; and every alert has
# a case in the tests and a page that says what to do.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# promtool wants to see the files of secrets that the configuration names; here they are empty.
cp -r config/prometheus "$work/prometheus"
mkdir "$work/secrets"
touch "$work/secrets/prometheus"
sed -i "s#/run/jtav-serve-keys/#$work/secrets/#" "$work/prometheus/prometheus.yml"
promtool check config "$work/prometheus/prometheus.yml" | sed "s#$work/#config/#" | grep -v '^$'
promtool test rules config/prometheus/alerts_test.yml | grep -v '^$'
scripts/grafana-dashboard.py --check "$work/queries.yml"
(cd "$work" && promtool check rules queries.yml | grep -v '^$')

failed=0
complain() { echo "$*" >&2; failed=1; }
# shellcheck disable=SC2013  # alert names have no blanks
for alert in $(sed -n 's/^ *- alert: //p' config/prometheus/alerts.yml | sort -u); do
  [ -f "docs/runbooks/$alert.md" ] || complain "docs/runbooks/$alert.md is missing"
  grep -q "runbook_url: docs/runbooks/$alert.md" config/prometheus/alerts.yml || complain "$alert names no runbook"
  grep -q "runbook_url: docs/runbooks/$alert.md" config/prometheus/alerts_test.yml || complain "$alert never fires in alerts_test.yml"
done
for page in docs/runbooks/Jtav*.md; do
  grep -q "alert: $(basename "$page" .md)\$" config/prometheus/alerts.yml || complain "$page belongs to no alert"
done
exit $failed
