//! What a server's answer says before its body counts: status, redirect, encoding. Servers say odd things; where browsers
//! show the picture all the same, it is taken here too, and where they do not agree, the bytes decide.

use jtav_media_codecs::is_medium;
use jtav_schemas::AbsentReason;
use percent_encoding::{AsciiSet, percent_encode};
use reqwest::header::{CONTENT_ENCODING, CONTENT_RANGE, HeaderMap, LOCATION};
use reqwest::{Response, StatusCode};
use url::Url;

use crate::fetch::address::Denied;
use crate::fetch::failure::Failure;

/// Content codings that exist (IANA, HTTP Content Coding Registry) and change the bytes.
const CODINGS: [&str; 12] = [
    "aes128gcm",
    "br",
    "compress",
    "dcb",
    "dcz",
    "deflate",
    "exi",
    "gzip",
    "pack200-gzip",
    "x-compress",
    "x-gzip",
    "zstd",
];

/// Nothing of ASCII: the URL parser encodes what it must.
const BEYOND_ASCII: &AsciiSet = &AsciiSet::EMPTY;

/// Whether the answer carries the medium.
///
/// An answer that says "not found" may carry a picture, which browsers show; it is a picture of something else. A part is
/// none either, unless it is all of it.
pub(crate) fn check_status(response: &Response) -> Result<(), Failure> {
    let headers = response.headers();
    match response.status() {
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT => Err(Failure::last(AbsentReason::FetchFailed)),
        StatusCode::PARTIAL_CONTENT if !is_whole(headers) => Err(Failure::last(AbsentReason::FetchFailed)),
        // 203 comes from proxies that have made a picture smaller; others are oddities.
        status if status.is_success() => Ok(()),
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(Failure::last(AbsentReason::NotFound)),
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Err(Failure::overloaded(headers))
        }
        _ => Err(Failure::last(AbsentReason::FetchFailed)),
    }
}

/// `Content-Range: bytes 0-99/100`.
fn is_whole(headers: &HeaderMap) -> bool {
    let whole = || {
        let range = headers.get(CONTENT_RANGE)?.to_str().ok()?.trim().strip_prefix("bytes")?.trim();
        let (last, size) = range.strip_prefix("0-")?.split_once('/')?;
        Some(last.parse::<u64>().ok()?.checked_add(1)? == size.parse::<u64>().ok()?)
    };
    whole().unwrap_or(false)
}

/// Where a redirect leads. It is checked like the first address when its turn comes.
///
/// # Errors
/// A redirect that leads nowhere, or to what is no URL.
pub(crate) fn redirect(response: &Response, from: &Url) -> Result<Option<Url>, Failure> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = response.headers().get(LOCATION).map_or(&[][..], |value| value.as_bytes());
    target(location, from).map(Some)
}

fn target(location: &[u8], from: &Url) -> Result<Url, Failure> {
    let location = location.trim_ascii();
    if location.is_empty() {
        // It would lead to where it comes from.
        return Err(Failure::last(AbsentReason::FetchFailed));
    }
    // Servers send raw UTF-8, and older ones the bytes of another alphabet: browsers encode either byte by byte.
    let location = percent_encode(location, BEYOND_ASCII).to_string();
    Ok(from.join(&location).map_err(Denied::from)?)
}

/// Whether the body can be taken as it is. A name that is no coding (empty, `identity`, `none`, `utf-8`, `aws-chunked`) says
/// nothing. A coding that exists is believed unless the bytes are a medium as they stand.
///
/// # Errors
/// `Unsupported`: nothing was asked to be encoded.
pub(crate) fn check_encoding(headers: &HeaderMap, bytes: &[u8]) -> Result<(), Failure> {
    let names = headers.get_all(CONTENT_ENCODING).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let is_coding =
        |name: &[u8]| CODINGS.iter().any(|coding| name.trim_ascii().eq_ignore_ascii_case(coding.as_bytes()));
    let is_encoded = names.into_iter().any(is_coding);
    if is_encoded && !is_medium(bytes) {
        return Err(Failure::last(AbsentReason::Unsupported));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn a_location_leads_where_a_browser_would_go() {
        let from = Url::parse("https://a.example/dir/page?q#f").unwrap();
        let cases: [(&[u8], &str); 13] = [
            ("/bücher/日本.jpg".as_bytes(), "https://a.example/b%C3%BCcher/%E6%97%A5%E6%9C%AC.jpg"),
            (b"/caf\xe9.jpg", "https://a.example/caf%E9.jpg"),
            ("http://bücher.example/ü?ü=ü".as_bytes(), "http://xn--bcher-kva.example/%C3%BC?%C3%BC=%C3%BC"),
            (b"other.jpg", "https://a.example/dir/other.jpg"),
            (b"../up.jpg", "https://a.example/up.jpg"),
            (b"//b.example/x", "https://b.example/x"),
            (b"?page=2", "https://a.example/dir/page?page=2"),
            (b"#top", "https://a.example/dir/page?q#top"),
            (b"  /a b.jpg ", "https://a.example/a%20b.jpg"),
            (b"/a%20b.jpg", "https://a.example/a%20b.jpg"),
            (b"\\\\b.example\\x", "https://b.example/x"),
            (b"/100%.jpg", "https://a.example/100%.jpg"),
            (b"HTTP://B.example:80/", "http://b.example/"),
        ];
        for (location, expected) in cases {
            let found = target(location, &from).ok().map(String::from);
            assert_eq!(found.as_deref(), Some(expected), "{}", String::from_utf8_lossy(location));
        }
        for nowhere in [&b""[..], b"  ", b"http://", b"http://[::1"] {
            assert!(target(nowhere, &from).is_err(), "{}", String::from_utf8_lossy(nowhere));
        }
    }

    #[test]
    fn a_name_that_is_no_coding_says_nothing_and_a_coding_is_believed_unless_the_bytes_deny_it() {
        let refused = |names: &[&str], bytes: &[u8]| {
            let mut headers = HeaderMap::new();
            for name in names {
                headers.append(CONTENT_ENCODING, HeaderValue::from_str(name).unwrap());
            }
            check_encoding(&headers, bytes).is_err()
        };
        let (jpeg, gzip) = (b"\xff\xd8\xff\xe0", b"\x1f\x8b\x08\0");
        for names in [&[""][..], &["identity"], &["none"], &["utf-8"], &["aws-chunked"], &["binary, "], &["x", "UTF8"]]
        {
            assert!(!refused(names, jpeg), "{names:?}");
            assert!(!refused(names, b"who knows"), "{names:?}: what it is shows when it is decoded");
        }
        for names in [&["gzip"][..], &["GZIP"], &["aws-chunked, gzip"], &["identity", "br"], &[" zstd "], &["deflate"]]
        {
            assert!(refused(names, gzip), "{names:?}");
            assert!(refused(names, b""), "{names:?}");
            assert!(!refused(names, jpeg), "{names:?}: it was not encoded after all");
        }
    }

    #[test]
    fn a_part_is_whole_where_it_says_so() {
        let says = |range: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_RANGE, HeaderValue::from_str(range).unwrap());
            is_whole(&headers)
        };
        assert!(says("bytes 0-99/100") && says(" bytes  0-0/1"));
        for part in ["bytes 0-98/100", "bytes 1-99/100", "bytes 0-99/*", "bytes */100", "0-99/100", "bytes 0-/1", ""] {
            assert!(!says(part), "{part}");
        }
        assert!(!says(&format!("bytes 0-{}/0", u64::MAX)) && !is_whole(&HeaderMap::new()));
    }
}
