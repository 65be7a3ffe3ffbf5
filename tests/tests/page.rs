//! The page of `jtav serve` in a real browser: what a person sees, hears of, and can do with keys alone.

#[path = "page/browser.rs"]
mod browser;
#[path = "page/demo.rs"]
mod demo;
#[path = "serve/rig.rs"]
#[expect(dead_code, reason = "the tests of the answers use the rest")]
mod rig;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use browser::Browser;
use demo::Demo;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use jtav_query::keys::{Scope, new_key};
use jtav_schemas::Label;
use jtav_store::Store as _;
use jtav_testkit::{require_browser, workspace_root};
use rig::{Rig, post};
use serde_json::json;
use sha2::{Digest as _, Sha256};

/// Opens a window on `url`, looks, and closes it whatever was seen.
async fn look_at(url: &str, look: impl AsyncFnOnce(&Browser) -> Result<()>) -> Result<()> {
    let browser = Browser::open(url).await?;
    let looked = look(&browser).await;
    let clean = if looked.is_ok() { browser.is_clean().await } else { Ok(()) };
    browser.close().await?;
    looked.and(clean)
}

/// The same on the demo; nothing where there is no browser.
async fn look_at_the_demo(name: &str, look: impl AsyncFnOnce(&Browser) -> Result<()>) -> Result<()> {
    if !require_browser(name) {
        return Ok(());
    }
    let demo = tokio::task::spawn_blocking(Demo::shared).await??;
    look_at(&demo.url, look).await
}

const ROWS: &str = "document.querySelectorAll('.rows .row').length";

/// There are rows, and none on the screen waits for its text or could not load it. (Which posts are the newest is up to the machine: they may be those
/// without one.)
const ROWS_READ: &str = "document.querySelector('.rows .row') && ![...document.querySelectorAll('.rows .row')].some((row) => { \
                         const at = row.getBoundingClientRect(); return at.top < innerHeight && at.bottom > 0 \
                         && /^(…|Text not loaded)/.test(row.querySelector('.no-text')?.textContent ?? ''); })";

/// A post of the sample feed with words, sound and picture.
const POST: &str = "/p/pp-000431";

#[tokio::test]
async fn the_feed_appears_and_a_filter_filters_and_stands_in_the_address() -> Result<()> {
    look_at_the_demo("the_feed_appears_and_a_filter_filters_and_stands_in_the_address", async |browser: &Browser| {
        browser.go("/").await?;
        browser.until("the whole feed", &format!("{ROWS} === 66")).await?;
        browser.until("texts of the rows", "document.querySelectorAll('.row .said').length > 3").await?;
        browser.until("the sum", "document.querySelector('.sum')?.dataset.gap === '0'").await?;
        browser.until("the stream", "document.querySelector('[data-state=live]')").await?;
        let negative = browser.run("return document.querySelector('[data-count=negative]').innerText;").await?;
        let negative: u64 = negative.as_str().context("a count")?.parse()?;
        browser.click("[data-filter=negative]").await?;
        let all_negative = format!("{ROWS} === {negative} && !document.querySelector('.row:not(.negative)')");
        browser.until("negative posts alone", &all_negative).await?;
        browser.until("the address", "location.search === '?label=negative'").await?;

        // The address alone brings it back, and a post opened from it keeps it.
        browser.go("/?label=negative&modality=image").await?;
        let few = format!("{ROWS} > 0 && {ROWS} < {negative} && !document.querySelector('.row:not(.negative)')");
        browser.until("fewer posts", &few).await?;
        browser
            .until("the filter is pressed", "document.querySelector('[data-filter=negative][aria-pressed=true]')")
            .await?;
        browser.click(".row .open-post").await?;
        browser.until("a post", "document.querySelector('.post .verdict-card')").await?;
        browser.until("filters", "location.search === '?label=negative&modality=image'").await?;
        browser.go("/?lang=xx").await?;
        browser.until("no post, and what to do", "document.querySelector('.empty button')").await?;
        browser.click(".empty button").await?;
        browser.until("the whole feed again", &format!("{ROWS} === 66 && location.search === ''")).await
    })
    .await
}

#[tokio::test]
async fn a_post_shows_where_its_reason_lies_and_its_media_veiled_until_asked_for() -> Result<()> {
    look_at_the_demo(
        "a_post_shows_where_its_reason_lies_and_its_media_veiled_until_asked_for",
        async |browser: &Browser| {
            browser.go(POST).await?;
            browser.until("shaded words", "document.querySelectorAll('.said-block mark').length === 5").await?;
            let marked = "getComputedStyle(document.querySelector('mark')).getPropertyValue('--strength') > 0";
            browser.until("a weight", marked).await?;
            browser.until("sentences", "document.querySelectorAll('.sentences li').length > 2").await?;
            browser.until("cells", "document.querySelectorAll('.cell').length === 5").await?;
            let seen = "document.querySelector('.frame.veiled img')?.naturalWidth > 0";
            browser.until("a veiled picture", seen).await?;
            let seen = "document.querySelector('.spectrum.grey img')?.naturalWidth > 0";
            browser.until("a grey spectrogram", seen).await?;
            browser.until("silence", "!document.querySelector('audio')").await?;
            browser.until("four pulls", "document.querySelectorAll('.pull dd .bar').length === 4").await?;
            browser.until("neighbours", "document.querySelectorAll('.near li').length === 12").await?;
            let choose = "const by = document.querySelector('.neighbours select'); \
                by.value = 'image'; by.dispatchEvent(new Event('change'));";
            browser.run(choose).await?;
            let seen = "document.querySelector('.neighbours select').value === 'image' && \
                document.querySelectorAll('.near li').length > 3";
            browser.until("neighbours by picture", seen).await?;

            browser.click("[data-show=picture]").await?;
            let seen = "document.querySelector('.frame:not(.veiled) img')?.naturalWidth === 448";
            browser.until("the picture", seen).await?;
            browser.click(".sound .jumps button").await?;
            let seen = "document.querySelector('audio')?.currentTime >= 2";
            browser.until("the clip, from the second that mattered", seen).await?;
            browser.until("marks", "document.querySelectorAll('.spectrum .mark').length === 3").await?;
            // The switch for all puts them away again.
            browser.click("[data-show=all]").await?;
            browser.click("[data-show=all]").await?;
            let seen = "document.querySelector('.frame.veiled') && !document.querySelector('audio')";
            browser.until("veiled", seen).await?;
            browser.click(".raw summary").await?;
            let seen = "document.querySelector('.raw pre').innerText.includes('\"post_id\": \"pp-000431\"')";
            browser.until("the record", seen).await
        },
    )
    .await
}

#[tokio::test]
async fn keys_alone_are_enough() -> Result<()> {
    look_at_the_demo("keys_alone_are_enough", async |browser: &Browser| {
        browser.go("/").await?;
        browser.until("the feed", &format!("{ROWS} > 3")).await?;
        let at = |row: u32| format!("document.querySelectorAll('.open-post')[{row}] === document.activeElement");
        browser.press("j").await?;
        browser.until("the first post", &at(0)).await?;
        browser.press("jj\u{e015}k").await?; // U+E015 is the arrow down.
        browser.until("the third", &at(2)).await?;
        browser.press("\u{e007}").await?; // Enter.
        let seen = "location.pathname.startsWith('/p/') && document.querySelector('.verdict-card')";
        browser.until("the post", seen).await?;
        browser.until("its title", "document.activeElement.id === 'post-title'").await?;
        browser.press("\u{e00c}").await?; // Escape.
        browser.until("the feed again, where it was", &format!("location.pathname === '/' && {}", at(2))).await?;
        browser.press("p").await?;
        browser.until("paused", "document.querySelector('.pause[aria-pressed=true]')").await?;
        browser.press("p").await?;
        browser.until("not paused", "document.querySelector('.pause[aria-pressed=false]')").await?;
        browser.press("?").await?;
        browser.until("help", "document.querySelector('dialog[open]')").await?;
        browser.press("\u{e00c}").await?;
        browser.until("no help", "!document.querySelector('dialog') && location.pathname === '/'").await?;
        browser.press("/").await?;
        browser.until("the filters", "document.activeElement.dataset.filter === 'positive'").await?;
        browser.press("\u{e00d}").await?; // Space.
        let seen = "location.search === '?label=positive' && !document.querySelector('.row:not(.positive)')";
        browser.until("positive posts", seen).await?;
        // Whoever types into a field types, and does nothing else.
        browser.run("document.querySelector('input[name=lang]').focus();").await?;
        browser.press("jp?").await?;
        let seen = "document.querySelector('input[name=lang]').value === 'jp?' && !document.querySelector('dialog') \
                && document.querySelector('.pause[aria-pressed=false]')";
        browser.until("typed", seen).await
    })
    .await
}

const AXE: &str = include_str!("page/vendor/axe.min.js");

/// What `axe-core` finds serious or critical on the page as it is.
async fn grave(browser: &Browser, what: &str) -> Result<()> {
    browser.run(AXE).await?;
    let found = browser
        .run_async(
            "const { violations } = await axe.run();
             return violations.filter((v) => ['serious', 'critical'].includes(v.impact))
                 .map((v) => [v.id, ...v.nodes.slice(0, 3).map((n) => `${n.target.join(' ')}: ${n.failureSummary}`)]);",
        )
        .await?;
    ensure!(found == json!([]), "{what}: {found:#}");
    Ok(())
}

#[tokio::test]
async fn axe_finds_nothing_serious_in_either_theme() -> Result<()> {
    look_at_the_demo("axe_finds_nothing_serious_in_either_theme", async |browser: &Browser| {
        for theme in ["light", "dark"] {
            for (path, ready) in [
                ("/", ROWS_READ),
                (
                    POST,
                    "document.querySelectorAll('.near li').length > 3 && document.querySelectorAll('mark').length > 0",
                ),
                ("/songs", "document.querySelector('.drop')"),
                ("/dead-letters", "document.querySelector('.letters li')"),
            ] {
                for width in [1_440, 360] {
                    browser.look(width, 900, theme).await?;
                    browser.go(path).await?;
                    browser.until(path, ready).await?;
                    grave(browser, &format!("{path}, {theme}, {width} px")).await?;
                }
            }
        }
        browser.click("header .icon[aria-label^=Help]").await?;
        browser.until("help", "document.querySelector('dialog[open]')").await?;
        grave(browser, "help").await
    })
    .await
}

#[tokio::test]
async fn nothing_scrolls_sideways_at_360_pixels() -> Result<()> {
    look_at_the_demo("nothing_scrolls_sideways_at_360_pixels", async |browser: &Browser| {
        browser.look(360, 740, "light").await?;
        for (path, ready) in [
            ("/", ROWS_READ),
            (POST, "document.querySelectorAll('.near li').length > 3"),
            ("/songs", "document.querySelector('.drop')"),
            ("/dead-letters", "document.querySelector('.letters li')"),
        ] {
            browser.go(path).await?;
            browser.until(path, ready).await?;
            let wide = browser
                .run(
                    "return Array.from(document.querySelectorAll('*'))
                             .filter((e) => e.scrollWidth > e.clientWidth + 1
                                 && /auto|scroll/.test(getComputedStyle(e).overflowX)
                                 || e === document.documentElement && e.scrollWidth > innerWidth)
                             .map((e) => `${e.tagName}.${e.className} ${e.scrollWidth} > ${e.clientWidth}`);",
                )
                .await?;
            ensure!(wide == json!([]), "{path}: {wide}");
        }
        browser.go("/").await?;
        browser.until("the filters are folded", "!document.querySelector('.choices').offsetParent").await?;
        browser.click(".filters .more").await?;
        browser.until("the filters", "document.querySelector('select[name=mood]').offsetParent").await
    })
    .await
}

#[tokio::test]
async fn a_picture_gets_its_songs_and_is_told_what_they_are_worth() -> Result<()> {
    look_at_the_demo("a_picture_gets_its_songs_and_is_told_what_they_are_worth", async |browser: &Browser| {
        let picture = workspace_root().join("services/feed-simulator/sample-feed/media/image/i-0239.jpg");
        browser.go("/songs").await?;
        browser.until("a place to drop it", "document.querySelector('.drop input')").await?;
        browser.type_into(".drop input", &picture.display().to_string()).await?;
        browser.until("songs", "document.querySelectorAll('.songs li').length === 20").await?;
        browser
            .until("what it is worth", "document.querySelector('.page').innerText.includes('Not above chance')")
            .await?;
        let text = workspace_root().join("Cargo.toml").display().to_string();
        browser.type_into(".drop input", &text).await?;
        browser
            .until("no picture", "document.querySelector('.trouble')?.innerText.includes('PNG, JPEG, WebP or GIF')")
            .await
    })
    .await
}

#[tokio::test]
async fn the_pure_parts_of_the_page_keep_their_promises() -> Result<()> {
    look_at_the_demo("the_pure_parts_of_the_page_keep_their_promises", async |browser: &Browser| {
        browser.go("/").await?;
        let outcome = browser.run_async(include_str!("page/units.js")).await?;
        ensure!(outcome["failed"] == json!([]), "{outcome:#}");
        ensure!(outcome["held"].as_u64() > Some(200), "{outcome:#}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn markup_that_did_get_in_would_not_run_and_the_tests_would_see_it() -> Result<()> {
    look_at_the_demo("markup_that_did_get_in_would_not_run_and_the_tests_would_see_it", async |browser: &Browser| {
        browser.go("/").await?;
        browser
            .run("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.pwned = 1\">');")
            .await?;
        browser.until("refused", "window.refused.some((one) => one.startsWith('script-src-attr'))").await?;
        ensure!(browser.is_clean().await.is_err(), "nobody saw it");
        ensure!(browser.run("return window.pwned ?? null;").await?.is_null(), "it ran");
        browser.run("window.refused = [];").await?;
        Ok(())
    })
    .await
}

const SCRIPT: &str = "<img src=x onerror=\"window.pwned = 1\"><script>window.pwned = 1</script>";

#[tokio::test]
async fn what_a_stranger_wrote_is_text_wherever_it_stands() -> Result<()> {
    if !require_browser("what_a_stranger_wrote_is_text_wherever_it_stands") {
        return Ok(());
    }
    let rig = Rig::start(|_| ())?.ready().await?;
    let ids = [SCRIPT, "a/b?c#d%20", "\u{202e}reversed\u{200b}", ".."];
    for id in ids {
        rig.publish(&post(id, &format!("{SCRIPT} \u{202e} {}", "w".repeat(3_000))), Label::Negative).await?;
    }
    look_at(&rig.url, async |browser: &Browser| {
        browser.look(360, 740, "light").await?;
        browser.go("/").await?;
        browser.until("the rows", "document.querySelectorAll('.row .said').length === 4").await?;
        let shown = browser.run("return document.querySelector('.row .said').textContent;").await?;
        ensure!(shown.as_str().is_some_and(|text| text.starts_with(SCRIPT)), "{shown}");
        browser.until("no wider", "document.documentElement.scrollWidth === 360").await?;
        let seen = "document.querySelector('.rows').innerText.includes('⟨U+202E⟩reversed⟨U+200B⟩')";
        browser.until("hidden characters are shown", seen).await?;
        for id in ids {
            let found = browser
                .run(&format!(
                    "const rows = Array.from(document.querySelectorAll('.open-post'));
                         rows.find((row) => row.dataset.row.endsWith({})).click(); return true;",
                    json!(format!("\n{id}"))
                ))
                .await?;
            ensure!(found == true, "{id:?}");
            let seen = "document.querySelector('.post .verdict-card') && document.querySelector('.said-block .said')";
            browser.until(id, seen).await?;
            // What the address says is enough to come back to it.
            let address = browser.run("return location.pathname + location.search;").await?;
            browser.go("/songs").await?;
            browser.go(address.as_str().context("an address")?).await?;
            let seen = "document.querySelector('.said-block .said')?.textContent.startsWith('<img src=x')";
            browser.until(id, seen).await?;
            let seen = "!document.querySelector('.said img, .said script, .id img, h1 img')";
            browser.until("nothing of it is an element", seen).await?;
            browser.go("/").await?;
            browser.until("the rows", "document.querySelectorAll('.row').length === 4").await?;
        }
        ensure!(browser.run("return window.pwned ?? null;").await?.is_null(), "it ran");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_paused_feed_counts_what_waits_and_an_erased_post_is_gone_from_it() -> Result<()> {
    if !require_browser("a_paused_feed_counts_what_waits_and_an_erased_post_is_gone_from_it") {
        return Ok(());
    }
    let rig = Rig::start(|_| ())?.ready().await?;
    rig.publish(&post("first", "the first words"), Label::Positive).await?;
    rig.publish(&post("second", "secret words"), Label::Negative).await?;
    let rig = &rig;
    look_at(&rig.url, async |browser: &Browser| {
        browser.go("/").await?;
        browser.until("both", "document.querySelectorAll('.row .said').length === 2").await?;
        browser.until("the stream", "document.querySelector('[data-state=live]')").await?;
        browser.press("p").await?;
        browser.until("paused", "document.querySelector('.pause[aria-pressed=true]')").await?;
        rig.publish(&post("third", "more words"), Label::Neutral).await?;
        rig.publish(&post("fourth", "still more"), Label::Neutral).await?;
        let seen = "document.querySelector('.waiting')?.innerText.startsWith('2 posts wait')";
        browser.until("two wait", seen).await?;
        browser.until("and are not shown", &format!("{ROWS} === 2")).await?;
        erase(rig, "second").await?;
        let seen = "document.querySelector('.row.gone') && !document.body.innerText.includes('secret')";
        browser.until("an erased row", seen).await?;
        browser.press("p").await?;
        browser.until("all", &format!("{ROWS} === 4 && !document.querySelector('.waiting')")).await?;
        browser.until("newest first", "document.querySelector('.row .id').innerText === 'fourth'").await?;
        browser.go("/p/first").await?;
        browser.until("a post", "document.querySelector('.verdict-card')").await?;
        browser.until("the stream", "document.querySelector('[data-state=live]')").await?;
        erase(rig, "first").await?;
        let seen = "document.querySelector('.post .empty')?.innerText.includes('was erased') && \
                !document.body.innerText.includes('the first words')";
        browser.until("it was erased", seen).await
    })
    .await
}

/// What a worker does with an erasure.
async fn erase(rig: &Rig, id: &str) -> Result<()> {
    rig.store.erase(id, 9, Duration::from_secs(600)).await?;
    rig.send(&rig.settings.kafka.sentiment_topic, 0, id, None).await?;
    Ok(())
}

#[tokio::test]
async fn a_server_with_keys_is_asked_with_one_that_never_stands_in_an_address() -> Result<()> {
    if !require_browser("a_server_with_keys_is_asked_with_one_that_never_stands_in_an_address") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("keys.toml");
    let (reader, of_reader) = new_key("reader", &[Scope::Read]);
    std::fs::write(&file, of_reader)?;
    let rig = Rig::start(|settings| settings.serve.keys_file = Some(file))?.ready().await?;
    rig.publish(&post("first", "the first words"), Label::Positive).await?;
    look_at(&rig.url, async |browser: &Browser| {
        browser.go("/").await?;
        browser.until("the question", "document.querySelector('dialog[open] input[name=key]')").await?;
        browser.press("jtav_guess\u{e007}").await?;
        browser
            .until(
                "it is refused",
                "document.querySelector('dialog[open]')?.innerText.includes('does not take this key')",
            )
            .await?;
        browser.press(&format!("{reader}\u{e007}")).await?;
        browser
            .until(
                "the feed",
                "document.querySelectorAll('.row .said').length === 1 && !document.querySelector('dialog')",
            )
            .await?;
        browser.go("/dead-letters").await?;
        browser
            .until("not with this one", "document.querySelector('.trouble')?.innerText.includes('wider scope')")
            .await?;
        let asked =
            browser.run("return performance.getEntriesByType('resource').map((e) => e.name).join(' ');").await?;
        ensure!(asked.as_str().is_some_and(|asked| asked.contains("/v1/") && !asked.contains("jtav_")), "{asked}");
        Ok(())
    })
    .await
}

/// SHA-256 of each file as the list beside it says.
#[test]
fn the_libraries_of_others_are_those_that_the_notice_names() -> Result<()> {
    let folder = workspace_root().join("services/query/page/vendor");
    let list = std::fs::read_to_string(folder.join("vendor.sha256"))?;
    let listed: BTreeMap<&str, &str> =
        list.lines().filter_map(|line| line.split_once("  ")).map(|(a, b)| (b, a)).collect();
    let mut found = 0;
    for entry in std::fs::read_dir(&folder)? {
        let name = entry?.file_name().into_string().ok().context("a name")?;
        if ["NOTICE.md", "vendor.sha256"].contains(&name.as_str()) {
            continue;
        }
        let digest = hex::encode(Sha256::digest(std::fs::read(folder.join(&name))?));
        ensure!(listed.get(name.as_str()) == Some(&digest.as_str()), "{name} is {digest}");
        found += 1;
    }
    ensure!(found == listed.len(), "{found} files, {} are listed", listed.len());
    Ok(())
}

/// The same picture with six bits a channel, which nobody sees, and packed as well as it goes.
fn smaller(png: &[u8]) -> Result<Vec<u8>> {
    let mut picture = image::load_from_memory(png)?.to_rgb8();
    picture.iter_mut().for_each(|value| *value = (*value & 0xfc) | (*value >> 6));
    let mut packed = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut packed, CompressionType::Best, FilterType::Adaptive);
    picture.write_with_encoder(encoder)?;
    Ok(packed)
}

/// `JTAV_PAGE_PICTURES=docs cargo test --release -p jtav-tests --test page pictures` writes those of the documentation; without it
/// they are taken all the same, and are small enough.
#[tokio::test]
async fn pictures_of_the_page_for_the_documentation() -> Result<()> {
    let folder = std::env::var_os("JTAV_PAGE_PICTURES").map(|folder| workspace_root().join(folder));
    look_at_the_demo("pictures_of_the_page_for_the_documentation", async |browser: &Browser| {
        for (name, path, width, height, theme, ready) in [
            ("page-feed", "/", 1_280, 800, "light", ROWS_READ),
            ("page-post", POST, 1_280, 860, "dark", "document.querySelectorAll('.near .said').length > 5"),
            ("page-narrow", "/", 360, 740, "light", ROWS_READ),
        ] {
            browser.look(width, height, theme).await?;
            browser.go(path).await?;
            browser.until(path, ready).await?;
            if path == POST {
                browser.click("[data-show=all]").await?;
                let media = "document.querySelector('.frame:not(.veiled) img')?.naturalWidth > 0 \
                        && document.querySelector('.mark')";
                browser.until("media", media).await?;
            }
            // Two points of the lines.
            let seen = "document.querySelector('.spark canvas') && document.querySelector('.sum')";
            browser.until("figures", seen).await?;
            tokio::time::sleep(Duration::from_secs(3)).await;
            let picture = smaller(&browser.picture().await?)?;
            if picture.len() > 300_000 {
                bail!("{name}: {} bytes", picture.len());
            }
            if let Some(folder) = &folder {
                std::fs::write(folder.join(format!("{name}.png")), picture)?;
            }
        }
        Ok(())
    })
    .await
}
