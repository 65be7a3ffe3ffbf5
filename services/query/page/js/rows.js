// The rows of the feed: newest first, never more than `MAX_ROWS`, with what waits while the feed is held. Pure.

export const MAX_ROWS = 500;

const key_of = (sentiment) => `${sentiment.model_version}\n${sentiment.post_id}`;

/** An empty feed. `waiting` counts what came while it was held; of that, too, only the newest `MAX_ROWS` are kept. */
export function no_rows() {
  return { rows: [], held: [], waiting: 0 };
}

function with_labels(rows, newest_last) {
  const fresh = new Map();
  for (const { partition, offset, sentiment } of newest_last) {
    const key = key_of(sentiment);
    fresh.delete(key);
    fresh.set(key, { key, partition, offset, sentiment, erased: false });
  }
  const front = Array.from(fresh.values()).reverse();
  return [...front, ...rows.filter((row) => !fresh.has(row.key))].slice(0, MAX_ROWS);
}

/** Takes labels, oldest first. A newer revision takes the place of the older one of the same model. */
export function take_labels(feed, labels, is_held) {
  if (labels.length === 0) return feed;
  if (!is_held) return { ...feed, rows: with_labels(feed.rows, labels) };
  return { ...feed, held: [...feed.held, ...labels].slice(-MAX_ROWS), waiting: feed.waiting + labels.length };
}

/** Shows what waited. */
export function release(feed) {
  return feed.waiting === 0 ? feed : { rows: with_labels(feed.rows, feed.held), held: [], waiting: 0 };
}

/** Forgets what is known of a post, held or shown; its row stays, empty, so that nothing moves under a hand. */
export function erase(feed, post_id) {
  const held = feed.held.filter((label) => label.sentiment.post_id !== post_id);
  const rows = feed.rows.map((row) => (!row.erased && row.sentiment.post_id === post_id ? { key: `erased ${row.partition}:${row.offset}`, partition: row.partition, offset: row.offset, erased: true } : row));
  return { rows, held, waiting: feed.waiting - (feed.held.length - held.length) };
}
