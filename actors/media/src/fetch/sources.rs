//! Media that lie elsewhere than on the web: in the post itself (`data:`), in folders of this machine (`file:`), in an
//! object store (`s3:`). All off unless a person switches them on; a redirect never leads to one of them.

use std::path::{Component, Path, PathBuf};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jtav_schemas::AbsentReason;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use url::Url;

use super::address::Denied;
use super::failure::Failure;

/// RFC 4648 4, as forgiving about its end as browsers are.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What is written as it is in no part of a URL (RFC 3986 2.3 names the exceptions).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Which sources besides the web may be used, and how far they reach.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MediaSources {
    /// Media inside their own URL.
    pub data: bool,
    /// Folders whose files, and those below, may be read by anyone who can post; empty: no file.
    pub file_roots: Vec<PathBuf>,
    /// Where objects of `s3://bucket/key` are downloaded from.
    pub s3: Option<S3Endpoint>,
}

/// An `https` address with the places of bucket and key, such as `https://{bucket}.s3.example.org/{key}`. Nothing is
/// signed: the objects must be public, or the endpoint must be a gateway that signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Endpoint(String);

/// A template that leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address such as https://{{bucket}}.s3.example.org/{{key}}")]
pub struct ParseS3EndpointError(String);

impl ParseS3EndpointError {
    /// The text stays what it is.
    pub fn is_retryable(&self) -> bool {
        false
    }
}

impl std::str::FromStr for S3Endpoint {
    type Err = ParseS3EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let endpoint = Self(text.to_owned());
        let is_whole = ["{bucket}", "{key}"].iter().all(|place| text.matches(place).count() == 1);
        let example = endpoint.fill("bucket", "key");
        if is_whole && example.is_ok_and(|url| url.scheme() == "https" && url.host().is_some()) {
            Ok(endpoint)
        } else {
            Err(ParseS3EndpointError(text.to_owned()))
        }
    }
}

impl S3Endpoint {
    fn fill(&self, bucket: &str, key: &str) -> Result<Url, url::ParseError> {
        Url::parse(&self.0.replacen("{key}", key, 1).replacen("{bucket}", bucket, 1))
    }

    /// Where the object of an `s3:` URL lies. Bucket and key come from a stranger: neither can leave its place.
    ///
    /// # Errors
    /// [`Denied::Source`].
    pub fn locate(&self, url: &Url) -> Result<Url, Denied> {
        let bucket = url.host_str().filter(|name| is_bucket(name)).ok_or(Denied::Source("no bucket's name"))?;
        if url.query().is_some() || url.port().is_some() || !url.username().is_empty() || url.password().is_some() {
            return Err(Denied::Source("more than bucket and key"));
        }
        let key: Vec<u8> = percent_decode_str(url.path().strip_prefix('/').unwrap_or_default()).collect();
        let segments = key.split(|byte| *byte == b'/');
        // A dot segment would be resolved against the endpoint's own path, encoded or not.
        if key.is_empty() || segments.clone().any(|segment| matches!(segment, b"." | b"..")) {
            return Err(Denied::Source("no object's key"));
        }
        let key: Vec<String> = segments.map(|segment| percent_encode(segment, RESERVED).to_string()).collect();
        Ok(self.fill(bucket, &key.join("/"))?)
    }
}

/// The rules of S3 for names, which also keep a name one or more labels of a host, or one segment of a path.
fn is_bucket(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    (3..=63).contains(&name.len())
        && name.bytes().all(legal)
        && !name.starts_with(['.', '-'])
        && !name.ends_with(['.', '-'])
        && !name.contains("..")
}

/// Bytes and media type of a `data:` URL (RFC 2397), at most `cap` bytes.
///
/// # Errors
/// Too large, or not what its form promises: `decode_error`.
pub(crate) fn data(url: &Url, cap: usize) -> Result<(Vec<u8>, Option<String>), Failure> {
    let broken = || Failure::last(AbsentReason::DecodeError);
    let text = url.as_str().strip_prefix("data:").ok_or_else(broken)?;
    let text = text.split('#').next().unwrap_or_default();
    let (head, body) = text.split_once(',').ok_or_else(broken)?;
    let head = head.trim();
    let split = head.len().saturating_sub("base64".len());
    // A head may hold any character, and a slice in the middle of one would panic.
    let is_base64 = head.get(split..).is_some_and(|end| end.eq_ignore_ascii_case("base64"))
        && head[..split].trim_end().ends_with(';');
    let media_type = if is_base64 { head[..split].trim_end().trim_end_matches(';') } else { head };
    let mut bytes: Vec<u8> = percent_decode_str(body).collect();
    if is_base64 {
        bytes.retain(|byte| !byte.is_ascii_whitespace());
        if bytes.len() / 4 * 3 > cap.saturating_add(3) {
            return Err(Failure::last(AbsentReason::TooLarge));
        }
        bytes = BASE64.decode(&bytes).map_err(|_| broken())?;
    }
    if bytes.len() > cap {
        return Err(Failure::last(AbsentReason::TooLarge));
    }
    Ok((bytes, Some(media_type.trim().to_owned()).filter(|name| !name.is_empty())))
}

/// An open file below one of `roots`, and its size. Blocks.
///
/// The check is of what was opened, not of a name: the path by which the kernel knows the open file, links and dots
/// resolved, must lie below a root. It is opened without any right at first (`O_PATH`), so that nothing happens to a
/// device or pipe that a name leads to; only a regular file is then opened for reading, through the same handle.
///
/// # Errors
/// Outside of every root, or no file: `fetch_denied`. Not there: `not_found`.
pub(crate) fn open(url: &Url, roots: &[PathBuf]) -> Result<(std::fs::File, u64), Failure> {
    let denied = |why| Failure::from(Denied::Source(why));
    if roots.is_empty() {
        return Err(Denied::Scheme.into());
    }
    let path = url.to_file_path().map_err(|()| denied("no path of this machine"))?;
    // The parser resolves dots between slashes; an encoded slash hides them from it.
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(denied("a path that goes up"));
    }
    // Outside, nobody learns from the answer whether a file is there.
    let is_below =
        |path: &Path| roots.iter().filter_map(|root| root.canonicalize().ok()).any(|root| path.starts_with(root));
    let in_name = roots.iter().any(|root| path.starts_with(root)) || is_below(&path);
    if !in_name {
        return Err(denied("a file outside of the folders"));
    }
    let handle = open_handle(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::last(AbsentReason::NotFound),
        _ => denied("a file that cannot be opened"),
    })?;
    if !is_below(&handle.path) {
        return Err(denied("a link that leads out of the folders"));
    }
    if !handle.is_file {
        return Err(denied("no regular file"));
    }
    let failed = |_| Failure::last(AbsentReason::FetchFailed);
    let file = handle.read().map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    Ok((file, size))
}

/// A file that was found and not yet opened for reading.
struct Handle {
    handle: std::fs::File,
    path: PathBuf,
    is_file: bool,
}

#[cfg(target_os = "linux")]
fn open_handle(path: &Path) -> std::io::Result<Handle> {
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let handle = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_CLOEXEC).open(path)?;
    let path = std::fs::read_link(format!("/proc/self/fd/{}", handle.as_raw_fd()))?;
    let is_file = handle.metadata()?.is_file();
    Ok(Handle { handle, path, is_file })
}

#[cfg(not(target_os = "linux"))]
fn open_handle(_: &Path) -> std::io::Result<Handle> {
    Err(std::io::ErrorKind::Unsupported.into())
}

impl Handle {
    fn read(&self) -> std::io::Result<std::fs::File> {
        use std::os::fd::AsRawFd as _;
        std::fs::File::open(format!("/proc/self/fd/{}", self.handle.as_raw_fd()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn s3(template: &str, url: &str) -> Result<String, Denied> {
        template.parse::<S3Endpoint>().unwrap().locate(&Url::parse(url).unwrap()).map(String::from)
    }

    #[test]
    fn an_object_lies_where_the_template_says() {
        let (hosts, paths) = ("https://{bucket}.s3.example.org/{key}", "https://s3.example.org/{bucket}/{key}");
        assert_eq!(s3(hosts, "s3://pictures/a/b c.jpg").unwrap(), "https://pictures.s3.example.org/a/b%20c.jpg");
        assert_eq!(s3(paths, "s3://pictures/a.jpg").unwrap(), "https://s3.example.org/pictures/a.jpg");
        assert_eq!(s3(paths, "s3://pictures/100%25.jpg").unwrap(), "https://s3.example.org/pictures/100%25.jpg");
        assert_eq!(s3(paths, "s3://pictures/{bucket}").unwrap(), "https://s3.example.org/pictures/%7Bbucket%7D");
        // The URL parser resolves dots within the bucket, encoded or not.
        for key in ["%2e%2e/other/a.jpg", "../other/a.jpg", "a/%2E%2E/other/a.jpg", ".%2e/other/a.jpg"] {
            let found = s3(paths, &format!("s3://pictures/{key}")).unwrap();
            assert_eq!(found, "https://s3.example.org/pictures/other/a.jpg", "{key}");
        }
    }

    #[test]
    fn neither_bucket_nor_key_leaves_its_place() {
        for url in [
            "s3://pictures",
            "s3://pictures/",
            "s3://pictures/%2e",
            "s3://pictures/a%2f..%2fb",
            "s3://pictures/a?versionId=1",
            "s3://a@pictures/b",
            "s3://pictures:81/b",
            "s3://Pictures/b",
            "s3://pi..ctures/b",
            "s3://.pictures/b",
            "s3://evil.example%2f/b",
            "s3://127.0.0.1%23/b",
            "s3:/pictures/b",
            "s3:pictures",
            "s3:///b",
            "s3://ab/b",
        ] {
            let Ok(url) = Url::parse(url) else { continue };
            for template in ["https://{bucket}.s3.example.org/{key}", "https://s3.example.org/{bucket}/{key}"] {
                let found = template.parse::<S3Endpoint>().unwrap().locate(&url);
                assert!(matches!(found, Err(Denied::Source(_))), "{url}: {found:?}");
            }
        }
    }

    #[test]
    fn a_template_has_both_places_and_is_https() {
        for text in [
            "",
            "https://s3.example.org/",
            "https://s3.example.org/{key}",
            "http://{bucket}.example.org/{key}",
            "{bucket}{key}",
        ] {
            assert!(text.parse::<S3Endpoint>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_object_lies_below_its_bucket(bucket in "[ -~]{1,12}", key in "[ -~]{1,24}") {
            let Ok(url) = Url::parse(&format!("s3://{bucket}/{key}")) else { return Ok(()) };
            let endpoint: S3Endpoint = "https://s3.example.org/root/{bucket}/{key}".parse().unwrap();
            if let Ok(found) = endpoint.locate(&url) {
                prop_assert_eq!(found.host_str(), Some("s3.example.org"));
                let prefix = format!("/root/{}/", url.host_str().unwrap());
                prop_assert!(found.path().starts_with(&prefix), "{} {}", found, prefix);
                prop_assert!(found.query().is_none() && found.fragment().is_none());
            }
        }

        #[test]
        fn no_text_after_the_scheme_panics(text in ".{0,80}") {
            if let Ok(url) = Url::parse(&format!("data:{text}")) {
                let _ = data(&url, 40);
            }
        }

        #[test]
        fn bytes_come_back_out_of_either_form(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let escaped: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
            let packed = BASE64.encode(&bytes);
            for (text, name) in [
                (format!("data:image/png,{escaped}"), Some("image/png")),
                (format!("data:;base64,{packed}"), None),
                (format!("data:image/png;x=y;BASE64,{packed}#fragment"), Some("image/png;x=y")),
                (format!("data:image/png;base64,{}", packed.trim_end_matches('=')), Some("image/png")),
            ] {
                let (found, media_type) = data(&Url::parse(&text).unwrap(), 60).ok().unwrap();
                prop_assert_eq!(&found, &bytes);
                prop_assert_eq!(media_type.as_deref(), name);
            }
            if !bytes.is_empty() {
                for text in [format!("data:,{escaped}"), format!("data:;base64,{packed}")] {
                    let refused = data(&Url::parse(&text).unwrap(), bytes.len() - 1).err().unwrap();
                    prop_assert_eq!(refused.reason, AbsentReason::TooLarge);
                }
            }
        }
    }

    #[test]
    fn what_is_no_base64_is_a_decode_error() {
        for text in ["data:;base64,!!", "data:nothing", "data:;base64,A"] {
            let refused = data(&Url::parse(text).unwrap(), 100).err().unwrap();
            assert_eq!(refused.reason, AbsentReason::DecodeError, "{text}");
        }
    }
}
