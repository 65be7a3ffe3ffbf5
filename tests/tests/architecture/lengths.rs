//! How long a file is.

/// Lines that are neither blank nor only a comment, without the modules that only tests have.
pub fn lines_of_code(text: &str) -> usize {
    let (mut count, mut is_for_tests) = (0, false);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" || (is_for_tests && line.starts_with("#[")) {
            is_for_tests = true;
            continue;
        }
        if is_for_tests && line.ends_with('{') && line.split(' ').any(|word| word == "mod") {
            // rustfmt puts the brace that closes it at the margin.
            lines.by_ref().find(|line| *line == "}");
        } else {
            let line = line.trim_start();
            count += usize::from(!is_for_tests && !line.is_empty() && !line.starts_with("//"));
        }
        is_for_tests = false;
    }
    count
}
