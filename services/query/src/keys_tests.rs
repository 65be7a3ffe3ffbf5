use super::*;

fn per_second() -> NonZeroU32 {
    NonZeroU32::new(5).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn a_new_key_opens_what_its_entry_says_and_nothing_else() {
    let (key, entry) = new_key("mod \"erators", &[Scope::Read]);
    let keys = Keys::parse(&entry, per_second(), &Keys::default()).unwrap();
    let found = keys.find(Some(&format!("Bearer {key}")), Timestamp::now()).unwrap();
    assert_eq!(found.name, "mod \"erators");
    assert!(found.allows(Scope::Read) && !found.allows(Scope::Score) && !found.allows(Scope::Admin));
    assert!(!entry.contains(&key), "the file holds the hash alone");
    let refused = |authorization: Option<&str>| keys.find(authorization, Timestamp::now()).err();
    assert_eq!(refused(None), Some(Refused::Missing));
    assert_eq!(refused(Some(&key)), Some(Refused::Missing), "without a scheme");
    assert_eq!(refused(Some(&format!("Basic {key}"))), Some(Refused::Missing));
    assert_eq!(refused(Some("Bearer jtav_x")), Some(Refused::Unknown));
    assert_eq!(refused(Some(&format!("Bearer {key}x"))), Some(Refused::Unknown));
}

#[test]
fn a_key_is_good_to_the_end_of_its_last_day() {
    let (key, entry) = new_key("a", &[Scope::Admin]);
    let keys = Keys::parse(&format!("{entry}expires = \"2027-01-31\"\n"), per_second(), &Keys::default()).unwrap();
    let find = |now: &str| keys.find(Some(&format!("bearer {key}")), at(now)).map(drop);
    assert_eq!(find("2027-01-31T23:59:59Z"), Ok(()));
    assert_eq!(find("2027-02-01T00:00:00Z"), Err(Refused::Expired));
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_the_name_of_the_key() {
    let wrong = |text: &str| Keys::parse(text, per_second(), &Keys::default()).err().unwrap();
    let hash = "0".repeat(64);
    assert!(wrong("[[key]]\nname=\"a\"\nsha256=\"12\"\nscopes=[\"read\"]").contains("key `a`: sha256"));
    assert!(wrong(&format!("[[key]]\nname=\"a\"\nsha256=\"{hash}\"\nscopes=[]")).contains("scopes is empty"));
    assert!(wrong(&format!("[[key]]\nname=\"a\"\nsha256=\"{hash}\"\nscopes=[\"root\"]")).contains("root"));
    let soon = format!("[[key]]\nname=\"a\"\nsha256=\"{hash}\"\nscopes=[\"read\"]\nexpires=\"soon\"");
    assert!(wrong(&soon).contains("`soon` is neither"));
    let twice = format!("[[key]]\nname=\"a\"\nsha256=\"{hash}\"\nscopes=[\"read\"]\n").repeat(2);
    assert!(wrong(&twice).contains("one name"));
}

#[test]
fn a_file_that_changes_is_read_again_and_one_that_breaks_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.toml");
    let (first, entry) = new_key("first", &[Scope::Read]);
    std::fs::write(&path, &entry).unwrap();
    let watch = KeysFileWatch::open(&path, per_second()).unwrap();
    assert!(!watch.look().unwrap());
    let before = watch.keys();
    std::fs::write(&path, "[[key]] nonsense").unwrap();
    assert!(watch.look().is_err());
    let bearer = format!("Bearer {first}");
    let kept = watch.keys().find(Some(&bearer), Timestamp::now()).unwrap();
    let (second, more) = new_key("second", &[Scope::Read]);
    std::fs::write(&path, format!("{entry}{more}")).unwrap();
    assert!(watch.look().unwrap());
    assert!(watch.keys().find(Some(&format!("Bearer {second}")), Timestamp::now()).is_ok());
    let same = watch.keys().find(Some(&bearer), Timestamp::now()).unwrap();
    assert!(Arc::ptr_eq(&kept, &same), "its place in the rate limit is kept");
    assert_eq!((before.len(), watch.keys().len()), (1, 2));
    std::fs::remove_file(&path).unwrap();
    assert!(watch.look().is_err() && watch.keys().len() == 2);
}

#[test]
fn a_file_without_a_key_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.toml");
    std::fs::write(&path, "# none yet\n").unwrap();
    let error = KeysFileWatch::open(&path, per_second()).err().unwrap().to_string();
    assert!(error.contains("--new-key"), "{error}");
}
