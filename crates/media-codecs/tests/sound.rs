//! Where sound begins and how long it is: what was read counts, encoders' delays are cut off as FFmpeg does it, and hostile
//! files cost a bounded time. Fixtures of `fixtures/make_odd_sound.py`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jtav_media_codecs::{DecodeLimits, MediaFacts, SoundEnd, SoundFacts, decode_with_facts};
use jtav_schemas::{AbsentReason, Decoded, Modality, Pcm};
use rustix::time::{ClockId, clock_gettime};

fn path(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures")).join(name)
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn hear(bytes: &[u8], limits: &DecodeLimits) -> Result<(Pcm, SoundFacts), AbsentReason> {
    match decode_with_facts(bytes, Modality::Audio, None, limits)? {
        (Decoded::Audio(pcm), MediaFacts::Sound(facts)) => Ok((pcm, facts)),
        other => panic!("{other:?}"),
    }
}

/// At the rate of the file.
fn hear_as_is(bytes: &[u8]) -> (Pcm, SoundFacts) {
    let left_rates_hz = vec![8_000, 12_000, 16_000, 24_000, 44_100, 48_000];
    hear(bytes, &DecodeLimits { left_rates_hz, ..DecodeLimits::for_tests() })
        .unwrap_or_else(|reason| panic!("{reason}"))
}

/// By how many samples ours lies behind theirs.
fn offset(ours: &[f32], theirs: &[f32]) -> i64 {
    const FARTHEST: i64 = 3000;
    let likeness = |offset: i64| -> f64 {
        let (ours, theirs) = if offset < 0 {
            (ours, theirs.get(offset.unsigned_abs() as usize..).unwrap_or_default())
        } else {
            (ours.get(offset as usize..).unwrap_or_default(), theirs)
        };
        ours.iter().zip(theirs).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    (-FARTHEST..=FARTHEST).max_by(|a, b| likeness(*a).total_cmp(&likeness(*b))).unwrap()
}

#[test]
fn sound_begins_at_the_sample_at_which_it_begins_for_ffmpeg() {
    for (name, rate_hz) in [
        ("offset.mp3", 16_000),
        ("offset_1024.m4a", 16_000),
        ("offset_2112.m4a", 16_000),
        ("offset.opus", 48_000),
        ("offset_opus.m4a", 48_000),
        ("offset.ogg", 16_000),
    ] {
        let (pcm, facts) = hear_as_is(&fixture(name));
        assert_eq!(pcm.sample_rate_hz, rate_hz, "{name}");
        let raw = fixture(&format!("expected/{name}.raw16"));
        let theirs: Vec<f32> =
            raw.chunks_exact(2).map(|pair| f32::from(i16::from_le_bytes([pair[0], pair[1]])) / 32768.0).collect();
        let offset = offset(&pcm.samples, &theirs);
        println!("{name:16} {offset} samples behind, {} of {} samples, {facts:?}", pcm.samples.len(), theirs.len());
        assert_eq!(offset, 0, "{name}");
        // FFmpeg leaves what a packet has behind the end of an edit, and loses the last half block of Vorbis.
        let surplus = theirs.len() as i64 - pcm.samples.len() as i64;
        let range = match name.rsplit('.').next() {
            Some("m4a") => 0..=1024,
            Some("ogg") => -256..=0,
            _ => 0..=0,
        };
        assert!(range.contains(&surplus), "{name}: FFmpeg has {surplus} samples more");
    }
}

#[test]
fn files_that_were_joined_are_as_long_as_both() {
    for (name, seconds) in [
        ("joined.mp3", 0.4),
        ("joined_rates.mp3", 0.4),
        ("joined.flac", 0.2),
        ("chained.ogg", 0.4),
        ("frames_0.mp3", 0.2),
        ("frames_many.mp3", 0.2),
        ("total_hours.flac", 0.1),
        ("size_sox.wav", 0.1),
    ] {
        let (pcm, facts) =
            hear(&fixture(name), &DecodeLimits::for_tests()).unwrap_or_else(|reason| panic!("{name}: {reason}"));
        assert!((facts.decoded_seconds - seconds).abs() < 1e-3, "{name}: {facts:?}");
        assert!((f64::from(pcm.seconds()) - seconds).abs() < 1e-3, "{name}: {} s", pcm.seconds());
        assert_eq!((facts.end, facts.is_partial()), (SoundEnd::Whole, false), "{name}: {facts:?}");
        // A length that is no length is not reported.
        assert!(facts.stated_seconds.is_none_or(|stated| (stated - seconds).abs() < 0.2), "{name}: {facts:?}");
    }
}

#[test]
fn a_clip_that_is_longer_than_the_cap_is_cut_off_and_not_refused() {
    let mut wav = fixture("pcm16.wav");
    let samples = wav.split_off(44);
    wav.extend(samples.repeat(700));
    let size = (wav.len() as u32 - 44).to_le_bytes();
    wav[40..44].copy_from_slice(&size);
    let (pcm, facts) = hear(&wav, &DecodeLimits::for_tests()).unwrap();
    assert_eq!((pcm.seconds(), facts.end), (60.0, SoundEnd::AnalysedLength));
    assert_eq!(facts.stated_seconds.map(f64::round), Some(700.0));
    let capped = DecodeLimits { max_audio: Duration::from_secs(7), ..DecodeLimits::for_tests() };
    assert_eq!(hear(&wav, &capped).unwrap().0.seconds(), 7.0);
}

/// Each is as large as a file may be.
const LARGEST_BYTES: usize = 30 << 20;

fn grown(mut head: Vec<u8>, unit: &[u8]) -> Vec<u8> {
    while head.len() + unit.len() <= LARGEST_BYTES {
        head.extend_from_slice(unit);
    }
    head
}

fn atom(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 8).to_be_bytes(), kind.as_slice(), body].concat()
}

/// A page with a table of the greatest size and nothing else: it claims the pages behind it for its own.
fn greedy_page() -> Vec<u8> {
    [b"OggS\0\0".as_slice(), &[0; 20], &[255], &[255; 255]].concat()
}

fn dear_files() -> Vec<(&'static str, Vec<u8>)> {
    let mp3 = fixture("mono_24k.mp3");
    let mp3 = &mp3[mp3.windows(2).position(|two| two == [0xff, 0xf3]).unwrap()..];
    let m4a = fixture("mono.m4a");
    let index_at = m4a.windows(4).position(|four| four == b"moov").unwrap() - 4;
    let flac = fixture("ring_24.flac");
    // A frame that is announced and cannot be decoded, of the least size: MPEG 2.5, 8 kbit/s, 12 kHz.
    let tiny_frame = [[0xff, 0xe3, 0x14, 0xc4].as_slice(), &[0xff; 44]].concat();
    vec![
        ("zeros", vec![0; LARGEST_BYTES]),
        ("ones", vec![0xff; LARGEST_BYTES]),
        ("false headers of MP3", grown(Vec::new(), &[0xff, 0xfb, 0x90, 0x00])),
        ("headers of the free format", grown(Vec::new(), &[0xff, 0xfb, 0x00, 0x00, 0x55])),
        ("false headers behind MP3", grown(mp3.to_vec(), &[0xff, 0xf3, 0x84, 0xc4, 0x11])),
        ("false headers of ADTS", grown(Vec::new(), &[0xff, 0xf1, 0x50, 0x80, 0x02, 0x1f, 0xfc])),
        ("tiny frames", grown(Vec::new(), &tiny_frame)),
        ("empty tags", grown(Vec::new(), b"ID3\x03\0\0\0\0\0\0")),
        ("joined MP3", grown(Vec::new(), mp3)),
        ("zeros before MP3", [vec![0; LARGEST_BYTES - mp3.len()], mp3.to_vec()].concat()),
        ("greedy pages", grown(fixture("mono.ogg"), &greedy_page())),
        ("capture patterns", grown(fixture("mono.ogg"), b"OggS\0")),
        ("chained Ogg", grown(Vec::new(), &fixture("mono.ogg"))),
        ("heads of FLAC", grown(Vec::new(), &flac[..42])),
        ("joined FLAC", grown(Vec::new(), &flac)),
        ("sync codes of FLAC", grown(flac.clone(), &[0xff, 0xf8, 0x69, 0x08, 0x00])),
        ("ones behind FLAC", grown(flac.clone(), &[0xff])),
        ("chunks of WAV", grown(fixture("size_beyond.wav")[..36].to_vec(), b"abcd\0\0\0\0")),
        ("WAV of eight channels", {
            let head = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x08\0\0\xee\x02\0\0\x70\x17\0\x08\0\x08\0data\0\0\0\0";
            grown(head.to_vec(), &[0x7f, 0x81, 0x83, 0x70])
        }),
        ("formats of WAV", grown(b"RIFF\0\0\0\0WAVE".to_vec(), b"fmt \xff\xff\xff\x7f")),
        ("fragments", {
            let fragment = [atom(b"moof", &atom(b"mfhd", &[0; 8])), atom(b"mdat", &[])].concat();
            grown(fixture("fragments.m4a"), &fragment)
        }),
        ("tracks", {
            let file = grown(Vec::new(), &atom(b"trak", &[]));
            [atom(b"ftyp", b"isom\0\0\0\0"), atom(b"moov", &file)].concat()
        }),
        ("nested boxes", grown(m4a[..index_at].to_vec(), b"\0\0\0\x00moov")),
        ("sizes of samples", {
            let body = grown(vec![0; 8], &[0; 4]);
            [m4a[..index_at].to_vec(), atom(b"moov", &atom(b"stsz", &body))].concat()
        }),
    ]
}

/// Of this thread.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// Twice the limit that decoding has for itself: the last look at the clock may be that far from the end of a step, and a
/// machine under load has cold caches.
#[test]
fn the_dearest_files_cost_a_bounded_time() {
    let limits = DecodeLimits::for_tests();
    let mut wrong = Vec::new();
    for (name, file) in dear_files() {
        assert!(file.len() <= LARGEST_BYTES + 4096, "{name}");
        let before = cpu_time();
        let verdict = hear(&file, &limits).map(|(pcm, _)| pcm.seconds());
        let took = cpu_time() - before;
        println!("{name:28} {:5} ms  {verdict:?}", took.as_millis());
        if took > 2 * limits.max_audio_cpu {
            wrong.push(format!("{name}: {took:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
