//! What a process may take at most, said at its start beside what it is granted.

use jtav_settings::MemoryCeiling;

use crate::setup;

/// Says how much memory the process may take, and warns where its container grants less.
pub fn say_memory(ceiling: &MemoryCeiling) {
    // cgroup v2; `max` is no limit. Elsewhere there is none to be read.
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    match limit.and_then(|limit| limit.trim().parse::<u64>().ok()) {
        Some(limit) if limit < ceiling.total_bytes() => tracing::warn!(
            limit_bytes = limit, %ceiling,
            "the container grants less memory than the settings allow: raise its limit or lower the settings of the \
             largest parts"
        ),
        _ => tracing::info!(memory = %ceiling, "memory"),
    }
}

/// Raises the number of files and sockets that may be open to what can be had, and warns where the settings can need more.
pub fn say_descriptors(needed: u64) {
    let limit = setup::descriptor_limit();
    if needed > limit {
        tracing::warn!(
            needed,
            limit,
            "fewer files and sockets may be open than the settings can need: raise the limit (ulimit -n, LimitNOFILE) or \
             lower ingest.max_in_flight_posts, media.max_idle_connections or serve.max_connections"
        );
    }
}
