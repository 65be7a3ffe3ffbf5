//! Other posts of the same making: a pack that no choice touched, for the last word on a checkpoint.
//!
//! Its texts are the sealed tenth of the rated texts, its media those of the pack's training posts whose theme, song or speaker is
//! sealed by the same rule. They are put together as the pack's own posts are: by polarity, with parts as a training post of
//! that polarity has them. A text is used once, media again and again, until a text is asked for that is no longer there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use anyhow::Context;
use jtav_schemas::{DatasetLabels, DatasetMedia, DatasetPostV1, TextPart};
use jtav_trainer::files::{write_json, write_text};
use jtav_trainer::texts::is_sealed;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::rated::{RatedText, read_lines};

/// Name of the file of sealed texts with their votes, beside `posts.jsonl`.
pub const TEXTS: &str = "texts.jsonl";
/// A body has so many words, as in the pack.
const BODY_WORDS: std::ops::RangeInclusive<usize> = 5..=100;

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OtherPosts {
    pub posts: usize,
    pub positive: usize,
    /// Different media files.
    pub images: usize,
    pub audio_files: usize,
    /// Sealed texts with their votes, for three labels on text alone.
    pub texts: usize,
}

/// A medium of a sealed group, with what the pack says of it.
#[derive(Debug, Clone)]
struct Medium {
    file: DatasetMedia,
    mood: Option<String>,
    groups: BTreeMap<String, Option<String>>,
}

/// What may be drawn, by kind and polarity.
struct Pools {
    /// Role and polarity; each text once, the next one last.
    texts: HashMap<(String, bool), Vec<String>>,
    media: HashMap<(&'static str, bool), Vec<Medium>>,
}

/// Writes the pack to `folder`, which gets the media files as well. Equal seeds give equal packs.
///
/// # Errors
/// A pack or file of rated texts that cannot be read; a kind of media without a sealed group; a folder that cannot be written.
pub fn make_other(rated: &[RatedText], pack: &Path, folder: &Path, seed: u64) -> anyhow::Result<OtherPosts> {
    let posts: Vec<DatasetPostV1> = read_lines(&pack.join("posts.jsonl"))?;
    let train: Vec<DatasetPostV1> = posts.into_iter().filter(|post| post.split.as_deref() == Some("train")).collect();
    let mut random = StdRng::seed_from_u64(seed);
    let sealed: Vec<&RatedText> = rated.iter().filter(|text| is_sealed(&text.group)).collect();
    let mut pools = Pools { texts: text_pools(&sealed, &mut random), media: media_pools(&train) };
    let mut made = Vec::new();
    loop {
        let pattern = train.choose(&mut random).context("the pack has no training posts")?;
        match pools.post(pattern, made.len() + 1, &mut random)? {
            Some(post) => made.push(post),
            None => break,
        }
    }
    anyhow::ensure!(!made.is_empty(), "the sealed texts are too few for one post");
    write(&made, &sealed, pack, folder)
}

/// `vader-tweets` give captions, the others bodies, as in the pack; neutral ones neither.
fn text_pools(sealed: &[&RatedText], random: &mut StdRng) -> HashMap<(String, bool), Vec<String>> {
    let mut pools: HashMap<(String, bool), Vec<String>> = HashMap::new();
    for text in sealed.iter().filter(|text| text.label() != 1) {
        let is_caption = text.group.starts_with("vader-tweets/");
        if is_caption || BODY_WORDS.contains(&text.text.split_whitespace().count()) {
            let role = if is_caption { "caption" } else { "body" };
            pools.entry((role.to_owned(), text.label() == 2)).or_default().push(text.text.clone());
        }
    }
    let mut names: Vec<(String, bool)> = pools.keys().cloned().collect();
    names.sort_unstable();
    for name in names {
        pools.entry(name).or_default().shuffle(random);
    }
    pools
}

/// Each file of a sealed group once, in the order of the pack.
fn media_pools(train: &[DatasetPostV1]) -> HashMap<(&'static str, bool), Vec<Medium>> {
    let mut pools: HashMap<(&'static str, bool), Vec<Medium>> = HashMap::new();
    let mut seen = HashSet::new();
    for post in train {
        let sounds = sound_kind(post).zip(post.audio.as_ref());
        let pictures = post.image.as_ref().map(|file| ("image", file));
        for (kind, file) in sounds.into_iter().chain(pictures) {
            let names: &[&str] = if kind == "image" { &["image_theme"] } else { &["song_id", "speaker"] };
            let groups = names.iter().map(|&name| (name.to_owned(), post.groups.get(name).cloned().flatten()));
            let groups: BTreeMap<String, Option<String>> = groups.collect();
            let of_sealed = groups.values().flatten().any(|group| is_sealed(group));
            if of_sealed && seen.insert(file.path.clone()) {
                let mood = post.labels.mood.clone().filter(|_| kind == "music");
                let positive = post.labels.sentiment == Some(1);
                pools.entry((kind, positive)).or_default().push(Medium { file: file.clone(), mood, groups });
            }
        }
    }
    pools
}

/// `music` has a song, `speech` a speaker; none without audio.
fn sound_kind(post: &DatasetPostV1) -> Option<&'static str> {
    let is_music = post.groups.get("song_id").is_some_and(Option::is_some);
    post.audio.as_ref().map(|_| if is_music { "music" } else { "speech" })
}

impl Pools {
    /// A post with the parts of the pattern and its polarity; `None` where a text of its kind is no longer there.
    fn post(
        &mut self,
        pattern: &DatasetPostV1,
        number: usize,
        random: &mut impl Rng,
    ) -> anyhow::Result<Option<DatasetPostV1>> {
        let positive = pattern.labels.sentiment == Some(1);
        let mut texts = Vec::new();
        for part in &pattern.texts {
            let pool = self.texts.get_mut(&(part.role.clone(), positive));
            let Some(text) = pool.and_then(Vec::pop) else { return Ok(None) };
            texts.push(TextPart { role: part.role.clone(), text });
        }
        let audio = sound_kind(pattern).map(|kind| self.medium(kind, positive, random)).transpose()?;
        let image = pattern.image.as_ref().map(|_| self.medium("image", positive, random)).transpose()?;
        let mut groups: BTreeMap<String, Option<String>> =
            ["image_theme", "song_id", "speaker"].map(|name| (name.to_owned(), None)).into();
        groups.extend(audio.iter().chain(&image).flat_map(|medium| medium.groups.clone()));
        let labels = DatasetLabels {
            sentiment: Some(u8::from(positive)),
            mood: audio.as_ref().and_then(|medium| medium.mood.clone()),
            other: BTreeMap::new(),
        };
        Ok(Some(DatasetPostV1 {
            id: format!("other-{number:06}"),
            revision: 0,
            author_id: None,
            created_at: None,
            lang: Some("en".to_owned()),
            texts,
            audio: audio.map(|medium| medium.file),
            image: image.map(|medium| medium.file),
            labels,
            split: Some("test".to_owned()),
            groups,
        }))
    }

    fn medium(&self, kind: &'static str, positive: bool, random: &mut impl Rng) -> anyhow::Result<Medium> {
        let pool = self.media.get(&(kind, positive)).and_then(|pool| pool.choose(random));
        let polarity = if positive { "positive" } else { "negative" };
        pool.cloned().with_context(|| format!("no sealed group has {polarity} media of the kind `{kind}`"))
    }
}

fn write(posts: &[DatasetPostV1], sealed: &[&RatedText], pack: &Path, folder: &Path) -> anyhow::Result<OtherPosts> {
    let paths = |file: fn(&DatasetPostV1) -> Option<&DatasetMedia>| -> HashSet<&str> {
        posts.iter().filter_map(file).map(|file| file.path.as_str()).collect()
    };
    let (sounds, images) = (paths(|post| post.audio.as_ref()), paths(|post| post.image.as_ref()));
    let files: HashSet<&str> = sounds.union(&images).copied().collect();
    for path in &files {
        let inside = Path::new(path).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        anyhow::ensure!(inside, "`{}` leads out of the pack", path.escape_debug());
        let target = folder.join(path);
        std::fs::create_dir_all(target.parent().unwrap_or(folder))
            .with_context(|| format!("creating the folder of {}", target.display()))?;
        std::fs::copy(pack.join(path), &target).with_context(|| format!("copying {path} of the pack"))?;
    }
    let lines = posts.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
    let text = lines.join("\n") + "\n";
    write_text(&folder.join("posts.jsonl"), &text)?;
    let votes = sealed.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
    write_text(&folder.join(TEXTS), &(votes.join("\n") + "\n"))?;
    let made = OtherPosts {
        posts: posts.len(),
        positive: posts.iter().filter(|post| post.labels.sentiment == Some(1)).count(),
        images: images.len(),
        audio_files: sounds.len(),
        texts: sealed.len(),
    };
    let description = serde_json::json!({
        "name": "other-posts",
        "version": "1.0.0",
        "description": "Other posts of the same making as polarity-posts. Non-commercial research use only.",
        "splits": { "test": made },
        "posts_sha256": hex::encode(Sha256::digest(text.as_bytes())),
    });
    write_json(&folder.join("dataset.json"), &description)?;
    write_text(&folder.join("README.md"), README)?;
    let attribution = std::fs::read_to_string(pack.join("ATTRIBUTION.csv")).unwrap_or_default();
    let ours = |(at, line): &(usize, &str)| *at == 0 || line.split(',').next().is_some_and(|path| files.contains(path));
    let attribution: Vec<&str> = attribution.lines().enumerate().filter(ours).map(|(_, line)| line).collect();
    write_text(&folder.join("ATTRIBUTION.csv"), &(attribution.join("\n") + "\n"))?;
    Ok(made)
}

const README: &str = "# Other posts of the same making

Posts that no training and no choice has seen: the sealed tenth of the rated texts (groups whose SHA-256 has a first byte
divisible by ten), with media of polarity-posts' training posts whose theme, song or speaker is sealed by the same rule, put
together by polarity with parts as training posts have them. All posts are of the split `test`. `texts.jsonl` has every
sealed text with its votes, neutral ones too.

Made by `jtav table labels --make-other FOLDER`. Sources, terms and citations are those of polarity-posts: texts MIT (VADER,
Hutto and Gilbert 2014), music and speech CC BY-NC-SA 4.0, pictures for research; `ATTRIBUTION.csv` has every file.
Non-commercial research use only. To look at it while anything is still chosen is to spoil it.
";

#[cfg(test)]
mod tests {
    use super::*;
    use jtav_trainer::DataPack;

    /// Names of groups that are sealed, or not, from a counter.
    fn groups(prefix: &str, sealed: bool, count: usize) -> Vec<String> {
        (0..).map(|at| format!("{prefix}{at}")).filter(|name| is_sealed(name) == sealed).take(count).collect()
    }

    fn rated(sealed: bool) -> Vec<RatedText> {
        let text = |(at, group): (usize, String)| RatedText {
            id: group.clone(),
            text: format!("sealed {sealed} text number {at} of {group}"),
            group,
            mean: [2.0, -2.0, 0.1][at % 3],
            negative: 1,
            zero: 2,
            positive: 3,
        };
        let names = [groups("vader-tweets/", sealed, 60), groups("vader-movie/", sealed, 60)].concat();
        names.into_iter().enumerate().map(text).collect()
    }

    /// A pack with a sealed and an open group of every kind and polarity, and test posts whose media must not be taken.
    fn pack(folder: &Path) {
        std::fs::create_dir_all(folder.join("media")).unwrap();
        let mut lines = Vec::new();
        for (at, (sealed, split)) in [(true, "train"), (false, "train"), (true, "test")].into_iter().enumerate() {
            for positive in [0, 1] {
                for (kind, name) in [("song_id", "song"), ("speaker", "speaker")] {
                    let group = groups(name, sealed, 4)[2 * usize::from(split == "test") + positive].clone();
                    let theme = groups("theme", sealed, 4)[2 * usize::from(split == "test") + positive].clone();
                    let (sound, image) = (format!("media/{group}.ogg"), format!("media/{theme}.jpg"));
                    std::fs::write(folder.join(&sound), &group).unwrap();
                    std::fs::write(folder.join(&image), &theme).unwrap();
                    lines.push(serde_json::json!({
                        "id": format!("{at}-{positive}-{kind}"), "split": split, "labels": {"sentiment": positive, "mood": null},
                        "texts": [{"role": if positive == 1 { "caption" } else { "body" }, "text": format!("{split} {positive} {kind}")}],
                        "audio": {"path": sound}, "image": {"path": image}, "groups": {kind: group, "image_theme": theme},
                    }).to_string());
                }
            }
        }
        std::fs::write(folder.join("posts.jsonl"), lines.join("\n")).unwrap();
    }

    #[test]
    fn other_posts_are_made_of_sealed_groups_alone_and_read_as_a_pack() {
        let (source, target, again) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        pack(source.path());
        let texts = [rated(true), rated(false)].concat();
        let made = make_other(&texts, source.path(), target.path(), 3).unwrap();
        let read = DataPack::read(target.path()).unwrap();
        assert_eq!((read.name.as_str(), read.posts.len(), made.texts), ("other-posts", made.posts, 120));
        assert!(made.posts > 10 && made.positive > 0 && made.positive < made.posts, "{made:?}");
        assert!(made.images <= 2 && made.audio_files <= 4, "{made:?}");
        for post in &read.posts {
            assert!(post.texts.iter().all(|part| part.text.starts_with("sealed true")), "{post:?}");
            let group = |file: &std::path::PathBuf| file.file_stem().unwrap().to_string_lossy().into_owned();
            let files = [&post.audio, &post.image].into_iter().flatten();
            assert!(files.map(|file| group(&file.path)).all(|group| is_sealed(&group)), "{post:?}");
        }
        assert_eq!(make_other(&texts, source.path(), again.path(), 3).unwrap(), made);
        let posts = |folder: &Path| std::fs::read(folder.join("posts.jsonl")).unwrap();
        assert_eq!(posts(target.path()), posts(again.path()));
    }

    #[test]
    fn a_pack_that_leads_out_of_its_folder_and_one_without_sealed_media_are_refused() {
        let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        pack(source.path());
        let path = source.path().join("posts.jsonl");
        let lines = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, lines.replace("media/", "../media/")).unwrap();
        let error = make_other(&rated(true), source.path(), target.path(), 3).unwrap_err().to_string();
        assert!(error.contains("leads out"), "{error}");
        let open: Vec<&str> = lines.lines().filter(|line| line.contains("\"id\":\"1-")).collect();
        std::fs::write(&path, open.join("\n")).unwrap();
        let error = make_other(&rated(true), source.path(), target.path(), 3).unwrap_err().to_string();
        assert!(error.contains("no sealed group"), "{error}");
        assert!(make_other(&rated(false), source.path(), target.path(), 3).is_err());
    }
}
