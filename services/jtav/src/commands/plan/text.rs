//! A plan as a person reads it; pure.

use std::fmt::Write as _;

use super::capacity::{GB, Topic};
use super::limits::Limit;
use super::report::{Checked, Plan};

/// Bottlenecks that come with advice; those that the feed is beyond already do in any case.
const ADVISED: usize = 2;

pub fn text(plan: &Plan) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write(plan, &mut text);
    text
}

fn write(plan: &Plan, text: &mut String) -> std::fmt::Result {
    let (feed, source) = (&plan.feed, &plan.costs);
    writeln!(
        text,
        "{} posts/s: {} with a text, {} with a clip, {} with an image; {} of the media known before",
        figure(feed.posts_per_second),
        percent(feed.shares.text),
        percent(feed.shares.audio),
        percent(feed.shares.image),
        percent(feed.known_media_share)
    )?;
    writeln!(text, "costs: {}, commit {}, {}, {} cores\n", source.date, source.commit, source.processor, source.cores)?;
    write_workers(plan, text)?;
    write_kafka(plan, text)?;
    write_store_and_media(plan, text)?;
    write_bottlenecks(plan, text)?;
    writeln!(text, "\nheld against saturated workers:")?;
    for check in &plan.checks {
        writeln!(text, "    {}", checked(check))?;
    }
    for remark in &plan.remarks {
        writeln!(text, "note: {remark}")?;
    }
    Ok(())
}

fn write_workers(plan: &Plan, text: &mut String) -> std::fmt::Result {
    let workers = &plan.needs.workers;
    let gpus = if workers.gpus > 0 { format!(", {} GPUs", figure(workers.gpus as f64)) } else { String::new() };
    writeln!(
        text,
        "workers      {} of {} cores: {} cores{gpus}; {} posts/s each at {}, {} CPU-ms a post",
        figure(workers.count as f64),
        workers.cores_each,
        figure(workers.cores as f64),
        figure(workers.saturated_posts_per_second_each * plan.deployment.utilisation),
        percent(plan.deployment.utilisation),
        figure(workers.cpu_ms_per_post)
    )?;
    writeln!(
        text,
        "memory       {} GB each at most, {} GB in all",
        figure(workers.memory_bytes_each as f64 / GB),
        figure(workers.memory_bytes as f64 / GB)
    )?;
    writeln!(text, "partitions   {} of the input topic", figure(plan.needs.partitions as f64))
}

fn write_kafka(plan: &Plan, text: &mut String) -> std::fmt::Result {
    let kafka = &plan.needs.kafka;
    writeln!(
        text,
        "Kafka        {} CPU cores in all: {} brokers of {}; not compressed, read once:",
        figure(kafka.cpu_cores),
        figure(kafka.brokers as f64),
        kafka.cores_each
    )?;
    writeln!(
        text,
        "             {:<12}{:>12}{:>12}{:>15}{:>12}",
        "topic", "records/s", "MB/s in", "MB/s replicas", "MB/s out"
    )?;
    for Topic { name, records_per_second, in_mb_per_second, replicas_mb_per_second, out_mb_per_second } in &kafka.topics
    {
        writeln!(
            text,
            "             {name:<12}{:>12}{:>12}{:>15}{:>12}",
            figure(*records_per_second),
            figure(*in_mb_per_second),
            figure(*replicas_mb_per_second),
            figure(*out_mb_per_second)
        )?;
    }
    Ok(())
}

fn write_store_and_media(plan: &Plan, text: &mut String) -> std::fmt::Result {
    let (redis, downloads) = (&plan.needs.redis, &plan.needs.downloads);
    writeln!(
        text,
        "Redis        {} requests/s ({} commands/s with those inside scripts), {} cores of its one thread",
        figure(redis.requests_per_second),
        figure(redis.commands_per_second),
        figure(redis.cpu_cores)
    )?;
    writeln!(
        text,
        "             {} GB for labels of {} days: {} of {} GB",
        figure(redis.memory_gb),
        figure(plan.deployment.label_ttl_days),
        figure(redis.servers as f64),
        figure(plan.deployment.redis_memory_gb)
    )?;
    writeln!(
        text,
        "media        {} downloads/s, {} MB/s",
        figure(downloads.per_second),
        figure(downloads.mb_per_second)
    )
}

fn write_bottlenecks(plan: &Plan, text: &mut String) -> std::fmt::Result {
    let feed = plan.feed.posts_per_second;
    writeln!(text, "\nwhat is full first, if this stays and the feed grows:")?;
    // The next one, and the one after it.
    let ahead: Vec<&Limit> =
        plan.bottlenecks.iter().filter(|limit| limit.full_at_posts_per_second >= feed).take(ADVISED).collect();
    for (place, limit) in plan.bottlenecks.iter().enumerate() {
        let is_behind = limit.full_at_posts_per_second < feed;
        let behind = if is_behind { ", less than is asked" } else { "" };
        let said = if limit.is_measured { "" } else { " (--redis-memory-gb is what you say, not measured)" };
        writeln!(
            text,
            "{:>2}. {:<15}at {} posts/s{behind}{said}",
            place + 1,
            limit.resource.name(),
            figure(limit.full_at_posts_per_second)
        )?;
        if is_behind || ahead.contains(&limit) {
            writeln!(text, "    {}", limit.advice)?;
        }
    }
    Ok(())
}

fn checked(check: &Checked) -> String {
    format!(
        "{:<8}{} posts/s predicted, {} measured ({:+.0} %), with {} of {} free cores",
        check.name,
        figure(check.predicted_posts_per_second),
        figure(check.measured_posts_per_second),
        100.0 * (check.ratio() - 1.0),
        figure(check.used_cores),
        figure(check.free_cores)
    )
}

fn percent(share: f64) -> String {
    format!("{} %", figure(100.0 * share))
}

/// A number with as many digits as say something: `0.042`, `4.2`, `42`, `4 200`.
fn figure(number: f64) -> String {
    let decimals = match number.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.1 => 2,
        _ => 4,
    };
    let text = format!("{number:.decimals$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((text.as_str(), ""));
    let fraction = fraction.trim_end_matches('0');
    let mut shown = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            shown.push(' ');
        }
        shown.push(digit);
    }
    if fraction.is_empty() { shown } else { format!("{shown}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::super::capacity::{Deployment, Feed};
    use super::super::costs::{Costs, Shares};
    use super::*;

    fn said(posts_per_second: f64, redis_memory_gb: f64) -> String {
        let deployment = Deployment { redis_memory_gb, ..Deployment::of_defaults() };
        let shares = Shares { text: 1.0, audio: 0.05, image: 0.3 };
        text(&Plan::new(&Costs::measured(), Feed { posts_per_second, shares, known_media_share: 0.0 }, deployment))
    }

    #[test]
    fn figures_have_three_digits_and_thousands_set_apart() {
        let numbers = [0.0, 0.042, 0.5, 4.2, 42.04, 999.96, 1_234_567.0, 1e6];
        assert_eq!(numbers.map(figure), ["0", "0.042", "0.5", "4.2", "42", "1 000", "1 234 567", "1 000 000"]);
    }

    #[test]
    fn every_resource_stands_in_the_plan_and_the_next_two_bottlenecks_come_with_advice() {
        let said = said(100.0, 1e6);
        for word in ["workers", "memory", "partitions", "Kafka", "sentiment", "Redis", "media", "held against"] {
            assert!(said.contains(word), "{word}: {said}");
        }
        let (_, bottlenecks) = said.split_once("full first").unwrap();
        let (bottlenecks, _) = bottlenecks.split_once("\n\n").unwrap();
        assert_eq!(bottlenecks.lines().count(), 1 + 5 + 2, "{bottlenecks}");
        assert!(!said.contains("less than is asked"), "{said}");
    }

    #[test]
    fn a_store_that_is_too_small_for_the_feed_is_told_with_what_to_do() {
        let said = said(10_000.0, 1.0);
        let line = said.lines().position(|line| line.contains("less than is asked")).unwrap();
        let advice = said.lines().nth(line + 1).unwrap();
        assert!(advice.contains("store.ttl_seconds"), "{said}");
        assert!(said.contains("note: one Redis is not enough"), "{said}");
    }

    #[test]
    fn no_line_of_a_plan_is_wider_than_a_wide_terminal() {
        let said = said(1e6, 64.0);
        assert!(said.lines().all(|line| line.chars().count() <= 180), "{said}");
    }
}
