use std::collections::BTreeMap;

use tch::{Device, Tensor};

use super::*;
use crate::networks::{TowerWidths, TwoTower};
use crate::parameters::Builder;

const WIDTHS: TowerWidths = TowerWidths { image: 3, caption: 2, lyrics: 2, audio: 3, hidden: 4, embedding: 4 };

fn towers(seed: u64) -> RetrievalCheckpoint {
    let builder = Builder::fresh(seed, Device::Cpu);
    TwoTower::new(&builder.scope("towers"), WIDTHS, 0.0).unwrap();
    let tensors: BTreeMap<String, Tensor> = builder.finish().tensors.into_iter().collect();
    let scale = |width| VectorScale { mean: vec![0.0; width], deviation: vec![1.0; width] };
    let scales = VectorScales { image: scale(3), caption: scale(2), lyrics: scale(2), audio: scale(3) };
    let manifest =
        RetrievalManifest { encoder: "networks@1".to_owned(), widths: WIDTHS, ..RetrievalManifest::default() };
    RetrievalCheckpoint::new(manifest, &scales, &tensors).unwrap()
}

fn catalogue(towers: &RetrievalCheckpoint) -> SongCatalogue {
    let audio: Vec<[f32; 3]> = (0..5).map(|song| [song as f32, 1.0 - song as f32, 0.5]).collect();
    let parts: Vec<SongParts> = audio.iter().map(|audio| SongParts { audio, lyrics: None }).collect();
    let vectors = towers.song_tower().unwrap().vectors(&parts).unwrap();
    let named = vectors
        .into_iter()
        .enumerate()
        .map(|(at, vector)| (CatalogueSong { id: format!("song {at}"), title: None, has_lyrics: false }, vector));
    SongCatalogue::new(towers, named).unwrap()
}

#[test]
fn a_catalogue_reads_back_and_serves_the_towers_that_made_it_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let (towers_here, others, file) = (towers(1), towers(2), folder.path().join("songs"));
    towers_here.save(&folder.path().join("towers")).unwrap();
    let songs = catalogue(&towers_here);
    songs.save(&file).unwrap();
    assert_eq!(SongCatalogue::open(&file, &towers_here).unwrap(), songs);
    assert!(matches!(SongCatalogue::open(&file, &others), Err(RetrievalError::OtherModel { .. })));
    assert!(matches!(SongRetriever::new(others, songs.clone()), Err(RetrievalError::OtherTowers { .. })));
    let retriever = SongRetriever::open(&folder.path().join("towers"), &file).unwrap();
    let ranked = retriever.rank(&[0.2, 0.1, 0.9], None, 3).unwrap();
    assert_eq!(ranked.iter().map(|song| song.rank).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(ranked.windows(2).all(|pair| pair[0].score >= pair[1].score));
    assert_eq!(retriever.rank(&[0.2, 0.1, 0.9], Some(&[0.1, 0.2]), 99).unwrap().len(), 5);
    assert!(retriever.check_encoder("networks@1").is_ok() && retriever.check_encoder("networks@2").is_err());
    for wrong in [&[0.1, 0.2][..], &[f32::NAN, 0.0, 0.0], &[]] {
        assert!(retriever.rank(wrong, None, 3).is_err());
    }
}

#[test]
fn a_file_that_is_cut_or_damaged_is_no_catalogue_and_no_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let (towers, file) = (towers(1), folder.path().join("songs"));
    catalogue(&towers).save(&file).unwrap();
    let whole = std::fs::read(&file).unwrap();
    for length in [0, 7, 40, whole.len() - 1] {
        std::fs::write(&file, &whole[..length]).unwrap();
        assert!(matches!(SongCatalogue::open(&file, &towers), Err(RetrievalError::NoCatalogue { .. })), "{length}");
    }
    let checkpoint = folder.path().join("towers");
    towers.save(&checkpoint).unwrap();
    let weights = checkpoint.join("weights.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    assert!(RetrievalCheckpoint::load(&checkpoint).is_err());
    assert!(RetrievalCheckpoint::load(folder.path()).is_err());
}
