//! Reads each line of standard input and prints its words; with `--time`, how long a line takes.

use std::io::Read as _;
use std::time::Instant;

use jtav_text::reading::Reader;

fn main() -> std::io::Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let reader = Reader::new();
    if !std::env::args().any(|argument| argument == "--time") {
        text.lines().for_each(|line| println!("{}", reader.read(line).plain()));
        return Ok(());
    }
    let lines: Vec<&str> = text.lines().collect();
    let mut rounds: Vec<f64> = (0..9)
        .map(|_| {
            let start = Instant::now();
            let words: usize = lines.iter().map(|line| reader.read(line).words.len()).sum();
            assert!(words > 0, "there are words");
            start.elapsed().as_secs_f64() * 1e6 / lines.len() as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    let bytes = text.len() / lines.len().max(1);
    println!("{:.2} µs for a line of {bytes} bytes, the median of 9 rounds over {} lines", rounds[4], lines.len());
    Ok(())
}
