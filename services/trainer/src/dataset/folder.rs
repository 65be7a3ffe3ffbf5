//! A plain folder: `labels.csv` and the media that it names. The layout is described in `docs/data-packs.md`.

use std::collections::HashMap;
use std::path::Path;

use jtav_schemas::TextPart;

use super::error::DatasetError;
use super::files::Files;
use super::post::Candidate;
use super::table::{Row, Table, polarity};

/// The file that makes a folder one of this layout.
pub(super) const LABELS: &str = "labels.csv";

const REQUIRED: [&str; 2] = ["id", "sentiment"];
const OPTIONAL: [&str; 8] = ["split", "text", "caption", "lyrics", "audio", "image", "mood", "group"];
/// Columns with words and the role that each has in a post.
const TEXTS: [(&str, &str); 3] = [("text", "body"), ("lyrics", "lyrics"), ("caption", "caption")];

/// The rows of `labels.csv`, in file order.
pub(super) fn parse(path: &Path, root: &Path, bytes: &[u8]) -> Result<Vec<Candidate>, DatasetError> {
    let table = Table::parse(path, bytes, &REQUIRED, &OPTIONAL)?;
    let mut files = Files::new(root);
    let mut line_of: HashMap<&str, usize> = HashMap::new();
    let mut candidates = Vec::new();
    for row in table.rows() {
        let id = row.require("id")?;
        if let Some(first) = line_of.insert(id, row.line()) {
            return Err(row.fail(format!("id `{id}` stands on line {first} already")));
        }
        candidates.push(candidate(id, &row, &mut files)?);
    }
    Ok(candidates)
}

fn candidate(id: &str, row: &Row, files: &mut Files) -> Result<Candidate, DatasetError> {
    let positive = polarity(row.require("sentiment")?).map_err(|reason| row.fail(format!("sentiment {reason}")))?;
    let text = |(column, role): &(&str, &str)| {
        row.get(column).map(|text| TextPart { role: (*role).to_owned(), text: text.to_owned() })
    };
    let texts: Vec<TextPart> = TEXTS.iter().filter_map(text).collect();
    let mut file = |column: &str| {
        let found = row.get(column).map(|path| files.existing(path)).transpose();
        found.map_err(|reason| row.fail(format!("{column} {reason}")))
    };
    let (audio, image) = (file("audio")?, file("image")?);
    if texts.is_empty() && audio.is_none() && image.is_none() {
        return Err(row.fail("the post has no part"));
    }
    Ok(Candidate {
        id: id.to_owned(),
        line: row.line(),
        texts,
        audio,
        image,
        positive,
        mood: row.quadrant("mood")?,
        split: row.split()?,
        group: row.get("group").map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{DataPack, Split};

    fn read(csv: &str) -> Result<DataPack, String> {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.ogg", "b.ogg", "i.png"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        std::fs::write(folder.path().join("labels.csv"), csv).unwrap();
        DataPack::read(folder.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_folder_with_labels_reads_as_posts() {
        let pack = read(
            "\u{feff}id,split,sentiment,text,caption,lyrics,audio,image,mood\r\n\
             p1,train,positive,\"fine, \"\"really\"\"\nfine\",,,a.ogg,i.png,Q1\r\n\
             \r\np2,test,0,,so so,la la la,b.ogg,,\r\n",
        )
        .unwrap();
        let [first, second] = pack.posts.as_slice() else { panic!("{:?}", pack.posts) };
        assert_eq!((first.line, second.line), (2, 5), "a quoted line feed and a blank line count");
        assert_eq!(first.texts[0].text, "fine, \"really\"\nfine");
        assert_eq!((first.positive, first.mood, first.split), (true, Some(0), Split::Train));
        let roles: Vec<&str> = second.texts.iter().map(|part| part.role.as_str()).collect();
        assert_eq!((roles, second.positive, second.split), (vec!["lyrics", "caption"], false, Split::Test));
        assert_eq!(pack.labels_file, "labels.csv");
        assert!(first.audio.as_ref().unwrap().path.ends_with("a.ogg") && second.image.is_none());
    }

    #[test]
    fn without_splits_posts_of_one_song_stay_together() {
        let rows: Vec<String> = (0..40)
            .map(|row| format!("p{row},{},words number {row},{}", row % 2, if row < 6 { "a.ogg" } else { "" }))
            .collect();
        let pack = read(&format!("id,sentiment,text,audio\n{}\n", rows.join("\n"))).unwrap();
        assert!(pack.posts[..6].iter().all(|post| post.split == pack.posts[0].split));
        let sizes = Split::ALL.map(|split| pack.split(split).count());
        assert_eq!(sizes, [32, 4, 4]);
    }

    #[test]
    fn every_unusable_row_is_named_by_its_line() {
        let second = "p1,train,1,fine,,\n";
        for (rows, expected) in [
            (
                "id,sentiment,captoin\np,1,x\n".to_owned(),
                "labels.csv:1: column `captoin` is unknown; there may be id, ",
            ),
            ("id,text\np,x\n".to_owned(), "labels.csv:1: column `sentiment` is missing"),
            ("id,sentiment,id\np,1,x\n".to_owned(), "labels.csv:1: column `id` stands twice"),
            (format!("{second}p2,train,2,x,,\n"), "labels.csv:3: sentiment `2`: use positive or negative"),
            (format!("{second}p2,dev,1,x,,\n"), "labels.csv:3: split `dev`: use train"),
            (format!("{second}p1,train,1,x,,\n"), "labels.csv:3: id `p1` stands on line 2 already"),
            (format!("{second}p2,train,1,,,\n"), "labels.csv:3: the post has no part"),
            (format!("{second}p2,train,1,,c.ogg,\n"), "labels.csv:3: audio `c.ogg`: no such file"),
            (format!("{second}p2,train,1,,../a.ogg,\n"), "labels.csv:3: audio path `../a.ogg` leaves the folder"),
            (format!("{second}p2,train,1,x,,Q7\n"), "labels.csv:3: mood `Q7`: use Q1 to Q4"),
            (format!("{second}p2,,1,x,,\n"), "labels.csv:3: no split, though line 2 names one"),
            (format!("{second}p2,test,1,FINE,,\n"), "labels.csv:3: text of post `p2` (test) is also that of `p1`"),
            (format!("{second}p2,train\n"), "labels.csv:3: "),
            (String::new(), "labels.csv"),
        ] {
            let csv =
                if rows.starts_with("id,") { rows } else { format!("id,split,sentiment,text,audio,mood\n{rows}") };
            let message = read(&csv).unwrap_err();
            assert!(message.contains(expected), "{csv}: {message}");
        }
    }
}
