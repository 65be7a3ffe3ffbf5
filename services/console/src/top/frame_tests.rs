use std::time::{Duration, Instant};

use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::ink::{Ink, painted};
use crate::top::scrape::Scrape;
use crate::wrap::columns;

const METRICS: &str = include_str!("../../tests/fixtures/metrics.txt");

/// As a worker stands that has been asked twice, ten seconds apart.
fn worker(name: &str) -> Worker {
    let (mut worker, start) = (Worker::new(name.to_owned()), Instant::now());
    let before: String = METRICS
        .lines()
        .filter(|line| !line.starts_with("jtav_ingest_records_total"))
        .map(|line| format!("{line}\n"))
        .collect();
    worker.take(start, Scrape::read(&before));
    worker.take(start + Duration::from_secs(10), Scrape::read(METRICS));
    worker
}

fn away(name: &str) -> Worker {
    let mut worker = Worker::new(name.to_owned());
    worker.take(Instant::now(), Err("Connection refused (os error 111)".to_owned()));
    worker
}

fn told(worker: &Worker) -> String {
    painted(&body(worker, 80), Ink::Plain)
}

/// What a screen shows, row by row.
fn screen(workers: &[Worker], look: Look, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(workers, look, frame.area(), frame.buffer_mut())).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let row = |y: u16| (0..width).map(|x| buffer[(x, y)].symbol().to_owned()).collect::<String>().trim_end().to_owned();
    (0..height).map(row).collect()
}

#[test]
fn a_worker_is_told_in_eighty_columns_with_every_stage() {
    let text = told(&worker("w"));
    for stage in
        ["ingest", "router", "fetch", "decode", "text-encoder", "audio-encoder", "image-encoder", "fusion", "publisher"]
    {
        assert!(text.lines().any(|line| line.trim_start().starts_with(stage)), "{stage} is not in:\n{text}");
    }
    assert!(text.lines().all(|line| columns(line) <= 80), "{text}");
    for said in
        ["received 67 (6.7/s)", "gap 0", "breaker closed", "records behind, 4 partitions", "Cache", "decode: 0 wait"]
    {
        assert!(text.contains(said), "`{said}` is not in:\n{text}");
    }
}

#[test]
fn one_that_does_not_answer_says_why_and_hides_no_other() {
    let workers = [away("w1:9600"), worker("w2:9600"), Worker::new("w3:9600".to_owned())];
    let lines = screen(&workers, Look { chosen: 1, ..Look::default() }, 80, 40);
    assert!(
        lines[0].starts_with("  w1:9600") && lines[0].ends_with("does not answer: Connection refused (os error 111)"),
        "{lines:#?}"
    );
    assert!(lines[1].starts_with("› w2:9600") && lines[1].contains("6.7/s"), "{lines:#?}");
    assert!(lines[2].ends_with("asking …"), "{lines:#?}");
    assert!(lines[3].contains("1 of 3 answer"), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("  fetch")), "{lines:#?}");
    assert!(lines[39].starts_with("q quit"), "{lines:#?}");
}

#[test]
fn the_chosen_worker_is_seen_however_many_there_are() {
    let workers: Vec<Worker> = (0..60).map(|at| Worker::new(format!("w{at}:9600"))).collect();
    for chosen in [0, 30, 59] {
        let lines = screen(&workers, Look { chosen, ..Look::default() }, 80, 24);
        assert!(lines.iter().any(|line| line.starts_with(&format!("› w{chosen}:"))), "{chosen}: {lines:#?}");
    }
}

#[test]
fn a_wide_screen_has_two_columns_help_covers_them_and_arrows_move_them() {
    let workers = [worker("w")];
    let wide = screen(&workers, Look::default(), 200, 50);
    assert!(wide.iter().any(|line| line.contains("Posts") && line.contains("Lag")), "{wide:#?}");
    let help = screen(&workers, Look { is_help: true, ..Look::default() }, 80, 24);
    assert!(help.iter().any(|line| line.contains("quit")) && !help.iter().any(|line| line == "Stages"), "{help:#?}");
    let look = Look { scroll: 4, ..Look::default() };
    let (still, moved) = (screen(&workers, Look::default(), 80, 40), screen(&workers, look, 80, 40));
    assert_eq!(still[6], moved[2]);
}

proptest! {
    #[test]
    fn whatever_a_worker_says_and_however_small_the_screen_it_is_drawn(
        value in any::<String>(),
        number in any::<f64>(),
        (width, height) in (1u16..200, 1u16..50),
        scroll in 0u16..80,
    ) {
        let label = value.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], "\\n");
        let text = format!(
            "jtav_posts_total{{outcome=\"{label}\"}} {number:e}\njtav_consumer_lag_records{{partition=\"{label}\"}} {number:e}\n\
             jtav_model_info{{version=\"{label}\",device=\"{label}\"}} 1\njtav_intake_paused{{cause=\"{label}\"}} 1\n\
             jtav_publish_records_total{{sink=\"{label}\",result=\"error\"}} {number:e}\n\
             jtav_decode_worker_ends_total{{cause=\"{label}\"}} {number:e}\n"
        );
        let mut worker = Worker::new("w".to_owned());
        worker.take(Instant::now(), Scrape::read(&text));
        let told = told(&worker);
        prop_assert!(told.chars().all(|c| c == '\n' || !c.is_control()), "{:?}", told);
        prop_assert!(!told.contains(|c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')), "{:?}", told);
        prop_assert!(told.lines().all(|line| columns(line) <= 80), "{}", told);
        let look = Look { chosen: usize::from(scroll % 2), scroll, is_help: scroll % 3 == 0 };
        screen(&[worker], look, width, height);
    }
}
