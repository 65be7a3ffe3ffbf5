//! From a set to the table.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jtav_model::DeviceChoice;
use jtav_model::retrieval::{CatalogueSong, SongCatalogue, SongParts, SongRetriever, VectorScale};
use jtav_trainer::Silent;

use super::ranks::rank;
use super::run::{RetrievalOptions, run_cells};
use super::set::tests::set;
use super::*;
use crate::zoo::Profile;

/// libtorch's random numbers are the process's: two trainings at a time would not repeat.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn options(work: &std::path::Path) -> RetrievalOptions {
    let options = RetrievalOptions { seeds: 2, work_dir: work.to_owned(), ..RetrievalOptions::new(Profile::Paper) };
    RetrievalOptions { device: DeviceChoice::Cpu, ..options.quick() }
}

/// Every cell of the table, as a scorer would fill it that says `score(query, song)`.
fn cells_of(set: &RetrievalSet, options: &RetrievalOptions, score: impl Fn(usize, usize) -> f32) -> Vec<CellResult> {
    let cells = Cell::all(set, &options.protocols, options.seeds);
    let filled = cells.into_iter().map(|cell| {
        let test = &set.folds[&cell.protocol][cell.fold].test;
        let ranks = test.queries.iter().enumerate().map(|(query, of)| {
            let scores: Vec<f32> = (0..test.songs.len()).map(|song| score(query, song)).collect();
            rank(&scores, of.song).unwrap()
        });
        CellResult {
            cell,
            ranks: ranks.collect(),
            validation_mrr: None,
            learning_rate: None,
            epoch: None,
            seconds: 0.0,
            scores: None,
        }
    });
    filled.collect()
}

#[test]
fn a_constant_scorer_never_gets_a_hit_at_one_and_its_ties_fail_the_run() {
    let (set, work) = (set(), tempfile::tempdir().unwrap());
    let options = options(work.path());
    let table = RetrievalTable::new(&set, &options, false, &cells_of(&set, &options, |_, _| 0.5)).unwrap();
    for section in &table.sections {
        for row in &section.rows {
            assert!(row.void && row.ties == 1.0, "{row:?}");
            assert!(row.mean.recall[0] < 1.0, "an optimistic rank would be 1 everywhere");
            assert_eq!(row.mean.mean_rank, section.chance.mean_rank);
        }
    }
    let message = table.check_ties().unwrap_err().to_string();
    assert!(message.contains("disjoint JTAV: 100.0 % tied") && message.contains("shared I+L"), "{message}");
    let markdown = table.markdown("jtav table retrieval");
    assert!(markdown.contains("| JTAV | void |") && markdown.contains("Nothing beats chance"), "{markdown}");
}

#[test]
fn a_scorer_that_knows_the_song_passes_and_is_above_chance() {
    let (set, work) = (set(), tempfile::tempdir().unwrap());
    let options = options(work.path());
    // Query 2 i and 2 i + 1 belong to song i.
    let knows = |query: usize, song: usize| if query / 2 == song { 2.0 } else { (query * 7 + song) as f32 / 1e4 };
    let table = RetrievalTable::new(&set, &options, false, &cells_of(&set, &options, knows)).unwrap();
    table.check_ties().unwrap();
    let row = &table.sections[0].rows[0];
    assert_eq!((row.mean.mean_rank, row.mean.recall[0], row.void), (1.0, 1.0, false));
    assert_eq!(row.std.as_ref().unwrap().mean_rank, 0.0);
    let markdown = table.markdown("x");
    assert!(markdown.contains("Above chance by the interval of the MRR: I+L, I+C+L, I+S"), "{markdown}");
    assert!(markdown.contains("| JTAV | 1.0 ± 0.0 | 1.0 ± 0.0 | 1.000 ± 0.000 [1.000, 1.000] | 100.0 ± 0.0 % |"));
}

#[test]
fn a_run_trains_every_row_and_a_second_one_takes_all_from_the_work_folder() {
    let _alone = alone();
    let (set, work) = (set(), tempfile::tempdir().unwrap());
    let options = options(work.path());
    let first = run_cells(&set, &options, &Silent).unwrap();
    assert_eq!(first.len(), 2 * 7 * 2);
    // Equal down to the seconds that each cell took: nothing was run again.
    assert_eq!(run_cells(&set, &options, &Silent).unwrap(), first);

    let files = || std::fs::read_dir(std::fs::read_dir(work.path()).unwrap().next().unwrap().unwrap().path()).unwrap();
    let lost =
        files().map(|file| file.unwrap().path()).find(|path| path.to_string_lossy().contains("disjoint-jtav-seed1"));
    std::fs::remove_file(lost.unwrap()).unwrap();
    let again = run_cells(&set, &options, &Silent).unwrap();
    for (a, b) in first.iter().zip(&again) {
        assert_eq!((&a.ranks, &a.scores, a.validation_mrr), (&b.ranks, &b.scores, b.validation_mrr), "{:?}", a.cell);
    }
    assert_eq!(first.iter().zip(&again).filter(|(a, b)| a != b).count(), 1, "one cell was run again, with equal ranks");
}

#[test]
fn reranking_all_candidates_gives_the_joint_scorers_ranks() {
    let _alone = alone();
    let (set, work) = (set(), tempfile::tempdir().unwrap());
    let results = run_cells(&set, &options(work.path()), &Silent).unwrap();
    let ranks =
        |row: Row| results.iter().filter(move |result| result.cell.row == row).map(|result| result.ranks.clone());
    assert!(ranks(Row::TwoTowerReranked).eq(ranks(Row::Jtav)));
    assert!(!ranks(Row::TwoTower).eq(ranks(Row::Jtav)));
}

#[test]
fn a_pack_without_captions_says_which_rows_it_lacks() {
    let mut set = set();
    set.captions = false;
    let work = tempfile::tempdir().unwrap();
    let options = options(work.path());
    let cells = cells_of(&set, &options, |query, song| ((query * 31 + song * 17) % 101) as f32 + song as f32 / 1e3);
    let markdown = RetrievalTable::new(&set, &options, true, &cells).unwrap().markdown("x");
    assert!(markdown.contains("| I+C+L | not in this pack: no captions |"), "{markdown}");
    assert!(markdown.contains("worth nothing") && markdown.contains("Waves stand in for pictures"));
}

/// What serves is what was measured: the same ranks of the same test, through the catalogue and the retriever. That the towers are
/// those of the table's row, `tests/served_ranks.rs` holds on the pack itself: here trainings beside others may differ.
#[test]
fn towers_that_serve_rank_as_they_were_measured() {
    let _alone = alone();
    let (set, work) = (set(), tempfile::tempdir().unwrap());
    let options = options(work.path());
    let data = std::collections::BTreeMap::from([("set".to_owned(), "0".repeat(64))]);
    for protocol in Protocol::ALL {
        let towers = train_towers(&set, protocol, &options, 1, "networks@1", data.clone(), &Silent).unwrap();
        let metrics: TowerMetrics = serde_json::from_value(towers.manifest().metrics.clone()).unwrap();
        let fold = &set.folds[&protocol][0];
        let raw = |vector: &Vec<f32>, scale: &VectorScale| {
            let values = vector.iter().zip(&scale.deviation).zip(&scale.mean);
            values.map(|((value, deviation), mean)| (f64::from(*value) * deviation + mean) as f32).collect::<Vec<f32>>()
        };
        let songs = fold.test.songs.iter().map(|song| {
            let audio = raw(song.vectors.audio.as_ref().unwrap(), &fold.scales.audio);
            (song, audio, song.vectors.lyrics.as_ref().map(|lyrics| raw(lyrics, &fold.scales.lyrics)))
        });
        let songs: Vec<_> = songs.collect();
        let parts: Vec<SongParts> =
            songs.iter().map(|(_, audio, lyrics)| SongParts { audio, lyrics: lyrics.as_deref() }).collect();
        let vectors = towers.song_tower().unwrap().vectors(&parts).unwrap();
        let named = songs.iter().zip(vectors).map(|((song, _, lyrics), vector)| {
            (CatalogueSong { id: song.id.clone(), title: None, has_lyrics: lyrics.is_some() }, vector)
        });
        let retriever = SongRetriever::new(towers.clone(), SongCatalogue::new(&towers, named).unwrap()).unwrap();
        let served = fold.test.queries.iter().map(|query| {
            let image = raw(&query.vectors.image, &fold.scales.image);
            let caption = query.vectors.caption.as_ref().map(|caption| raw(caption, &fold.scales.caption));
            let ranked = retriever.rank(&image, caption.as_deref(), usize::MAX).unwrap();
            let score = |song: &Song| ranked.iter().find(|ranked| ranked.id == song.id).unwrap().score;
            rank(&fold.test.songs.iter().map(score).collect::<Vec<_>>(), query.song).unwrap()
        });
        let served = ranks::Figures::of(&served.collect::<Vec<_>>()).unwrap();
        assert!((served.mrr - metrics.table.figures.mrr).abs() < 1e-9, "{} {}", served.mrr, metrics.table.figures.mrr);
        assert_eq!(served.recall, metrics.table.figures.recall);
        assert!(retriever.check_encoder("networks@2").is_err());
    }
}
