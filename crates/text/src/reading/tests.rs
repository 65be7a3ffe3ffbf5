//! The rules, in the order in which they are applied.

use super::{ReadWord, Reader, Reading, WordKind};

fn read(text: &str) -> Reading {
    Reader::new().read(text)
}

fn plain(text: &str) -> String {
    read(text).plain()
}

/// Each text is read as the one beside it.
fn assert_read(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(plain(text), *expected, "{text:?}");
    }
}

fn word<'a>(reading: &'a Reading, text: &str) -> &'a ReadWord {
    reading.words.iter().find(|word| word.text == text).unwrap_or_else(|| panic!("{text} is not in {reading:?}"))
}

#[test]
fn html_references_are_decoded_once() {
    assert_read(&[
        ("Tom &amp; Jerry &lt;3", "tom jerry red heart"),
        ("I don&#39;t, you don&#x2019;t &rsquo;em", "i don't , you don't em"),
        ("&#10084;&#65039; &#128514;", "red heart face with tears of joy"),
        // The second reference was text.
        ("&amp;lt;3", "lt ; 3"),
        ("&nosuch; &#xZZ; &; & &#; &#0; &#99999999;", "nosuch ; x zz ; ; ;"),
        ("Tom &amp Jerry, R&ampB", "tom jerry , r ampb"),
        ("a&nbsp;b&nbspc &eacute;t&eacute;", "a b nbspc été"),
    ]);
}

#[test]
fn compatible_characters_are_read_as_plain_ones() {
    assert_read(&[
        ("ＦＵＬＬ　ｗｉｄｔｈ！", "full width !"),
        ("ﬁne ﬂow", "fine flow"),
        ("𝐡𝐚𝐭𝐞 𝓁ℴ𝓋ℯ 𝔽𝕦𝕟 ⓗⓐⓣⓔ", "hate love fun hate"),
        ("🅗🅐🅣🅔 🄷🄰🅃🄴 ʜᴀᴛᴇ 🇽🇽", "hate hate hate xx"),
        ("m² x₁ ½ №", "m2 x1 1 2 no"),
        ("cafe\u{301} é", "café é"),
        ("ｶﾞｷﾞ \u{1112}\u{1161}\u{11AB}", "ガギ 한"),
    ]);
}

#[test]
fn a_word_split_by_something_invisible_is_one_word() {
    for hidden in [
        "\u{200B}",
        "\u{200C}",
        "\u{200D}",
        "\u{2060}",
        "\u{FEFF}",
        "\u{AD}",
        "\u{202E}",
        "\u{2066}",
        "\u{200F}",
        "\u{34F}",
        "\u{FE0F}",
        "\u{E0061}",
        "\u{115F}",
        "\u{3164}",
        "\u{FFA0}",
        "\u{180E}",
        "\u{61C}",
        "\u{0}",
        "\u{7F}",
        "&ZeroWidthSpace;",
        "&#8203;",
        "&shy;",
        "\u{200B}\u{AD}\u{200D}\u{FE0F}",
    ] {
        assert_eq!(plain(&format!("ha{hidden}te")), "hate", "{hidden:?}");
        assert_eq!(plain(&format!("@so{hidden}me #ha{hidden}te htt{hidden}p://a.b")), "hate", "{hidden:?}");
    }
}

#[test]
fn joiners_stay_where_a_script_needs_them() {
    assert_read(&[("می\u{200C}خواهم", "می\u{200C}خواهم"), ("क्\u{200D}ष", "क्\u{200D}ष")]);
    assert_read(&[("می\u{200C} a\u{200C}ی", "می aی")]);
}

#[test]
fn marks_of_a_script_stay_and_stacked_accents_go() {
    assert_read(&[
        ("שָׁלוֹם مَرْحَبًا नमस्ते", "שָׁלוֹם مَرْحَبًا नमस्ते"),
        ("h̷̡̢̛ą̸̛̈́t̵̢̧̛é̶ h̶a̶t̶e̶ h⃝a⃝", "hąté hate ha"),
        ("Tiếng Việt", "tiếng việt"),
    ]);
    for stack in ["\u{301}\u{316}", "\u{301}\u{200D}", "\u{301}\u{200B}", "\u{336}", "\u{200D}\u{200D}\u{301}"] {
        assert_eq!(plain(&format!("h{}ate", stack.repeat(5_000))), "hate", "{stack:?}");
    }
    for (letter, stack) in [("カ", "\u{FF9E}"), ("ש", "\u{5B8}\u{200D}"), ("র", "\u{200D}\u{9CD}"), ("ﾡ", "\u{302E}")]
    {
        let read = plain(&format!("{letter}{}", stack.repeat(5_000)));
        assert!((1..=8).contains(&read.chars().count()), "{read:?}");
    }
    assert_read(&[("র\u{200D}্য", "র\u{200D}্য"), ("\u{301}a \u{93E}", "a")]);
    assert!(plain(&format!("ש{}", "\u{5B8}".repeat(5_000))).chars().count() <= 7);
}

#[test]
fn every_apostrophe_is_the_same() {
    for apostrophe in ["'", "’", "‘", "ʼ", "＇", "`", "´", "′", "‛", "&apos;", "&#39;", "&rsquo;"] {
        assert_eq!(plain(&format!("I don{apostrophe}t {apostrophe}quote{apostrophe}")), "i don't quote");
    }
    assert_read(&[("“so” „said“ «he» \"x\" rock'n'roll '' '", "so said he x rock'n'roll")]);
}

#[test]
fn dashes_part_words_and_an_ellipsis_is_three_dots() {
    assert_read(&[
        ("well-known a—b c–d e‐f", "well known a b c d e f"),
        ("so… really...... ok", "so ... really ... ok"),
    ]);
}

#[test]
fn links_are_not_words() {
    assert_read(&[
        ("see https://t.co/Ab?c=d&amp;e#f! HTTP://X.Y/Z nowhttp://a.b (http://a.b/c).", "see ! now ."),
        ("www.example.com/a, WWW.EXAMPLE.COM www.a.de", ","),
        ("example.com example.com/x?y bit.ly/Ab EXAMPLE.ORG a.co.uk:80 http://", ""),
        ("看看http://t.co/abc很好", "看 看 很 好"),
    ]);
}

#[test]
fn what_only_resembles_a_link_stays() {
    assert_read(&[
        ("Awwww www wwww. www.", "aww ww ww . ww ."),
        ("end.Next I did it.So love.me", "end . next i did it . so love . me"),
        ("he/she and/or 3.5/10 e.g. node.js http https:", "he she and or 3.5 10 e . g . node . js http https :"),
    ]);
}

#[test]
fn addresses_and_handles_are_not_words() {
    assert_read(&[
        ("mail a.b+c@example.org now", "mail now"),
        ("@you @some_body's dog (@x) .@y: ＠z", "dog . :"),
        ("@a@b.c @bob.bsky.social @name.example.com hi @bob.Great", "hi . great"),
        ("谢谢@bob @日本", "谢 谢"),
    ]);
}

#[test]
fn an_at_without_a_domain_is_no_address() {
    assert_read(&[("5@home x@y me@ @ a @ b @@", "5 home x y me a b")]);
}

#[test]
fn hashtags_part_at_capitals_lines_and_digits() {
    let reading = read("#BestDayEver #snake_case #digits2026 #NBAFinals #WOW #Don’tStop #日本 # #_ #!");
    assert_eq!(reading.plain(), "best day ever snake case digits 2026 nba finals wow don't stop 日 本 !");
    assert_eq!(word(&reading, "best").kind, WordKind::Hashtag);
    assert_eq!(word(&reading, "2026").kind, WordKind::Number);
    assert!(word(&reading, "wow").shouted && !word(&reading, "best").shouted);
    assert_eq!(word(&reading, "day").source, 5..8);
}

#[test]
fn hashtags_of_joined_words_part_where_known_words_end() {
    assert_read(&[
        (
            "#blacklivesmatter #throwbackthursday #ihateyou #GOODMORNING",
            "black lives matter throwback thursday i hate you good morning",
        ),
        ("#amazing #brexit #qwertzuiop #isis", "amazing brexit qwertzuiop isis"),
        // Only hashtags: elsewhere people put blanks.
        ("goodmorning", "goodmorning"),
    ]);
    let endless = format!("#{}", "goodmorning".repeat(100));
    assert_eq!(plain(&endless).chars().count(), 40);
}

#[test]
fn a_cashtag_is_a_word_and_an_amount_a_number() {
    let reading = read("$TSLA $5 US$7.50 $lower $TOOLONGFORONE");
    assert_eq!(reading.plain(), "tsla 5 us 7.50 lower toolongforone");
    let kinds = [WordKind::Hashtag, WordKind::Number, WordKind::Word];
    assert_eq!([0, 1, 2].map(|at: usize| reading.words[at].kind), kinds);
}

#[test]
fn an_emoji_is_read_as_its_name() {
    assert_read(&[
        ("I ❤️ it ❤ ♥ ♡", "i red heart it red heart red heart"),
        ("so😂funny", "so face with tears of joy funny"),
        ("1️⃣ 🇩🇪 🏴\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}", "keycap 1 flag germany flag england"),
        ("👨‍👩‍👧 👋🏽 👋 🏳️‍🌈", "family man woman girl waving hand waving hand rainbow flag"),
        ("☺ 🫠 🅱️ad 🅱", "smiling face melting face bad b button blood type"),
        // Signs of letters and punctuation are text.
        ("Brand™ ©2026 wow‼️", "brandtm 2026 wow !!"),
        // Half an emoji, and one that is none.
        ("👨\u{200D} \u{200D}👨‍🍕 🏽 #️ 1️", "man man pizza 1"),
    ]);
}

#[test]
fn the_words_of_an_emoji_share_its_range() {
    let text = "ok ❤️!";
    let reading = read(text);
    let emoji: Vec<_> = reading.words.iter().filter(|word| word.kind == WordKind::Emoji).collect();
    assert_eq!(emoji.iter().map(|word| word.text.as_str()).collect::<Vec<_>>(), ["red", "heart"]);
    assert!(emoji.iter().all(|word| &text[word.source.clone()] == "❤️"));
}

#[test]
fn one_emoji_in_a_row_is_read_twice_and_covers_all_of_them() {
    let text = "😀😀 😀😀😀!";
    let reading = read(text);
    assert_eq!(reading.plain(), "grinning face grinning face !");
    assert_eq!(&text[reading.words[0].source.clone()], "😀");
    assert_eq!(&text[reading.words[2].source.clone()], "😀 😀😀😀");
    assert_read(&[("😀 a 😀 b 😀", "grinning face a grinning face b grinning face")]);
    assert_read(&[("👋🏻👋🏿👋", "waving hand waving hand")]);
}

#[test]
fn every_emoji_has_words_that_are_read_as_they_are() {
    for emoji in emojis::iter() {
        let once = plain(emoji.as_str());
        assert!(!once.is_empty() || matches!(emoji.as_str(), "©️" | "®️"), "{emoji}");
        assert_eq!(plain(&once), once, "{emoji}");
    }
}

#[test]
fn an_emoticon_is_read_as_what_it_shows() {
    for (emoticons, shown) in [
        (":) :-) =) :] :))))) (: (-: ^_^ ^^ (^_^) :^)", "smiling face"),
        (":( :-( =( :[ :(((( ): :c :<", "frowning face"),
        (":'( :'-( T_T t_t TT_TT ;_; ;-; ಥ_ಥ", "crying face"),
        (":D =D :-DDD", "grinning face"),
        ("xD XD XDDDD", "laughing face"),
        (";) ;-) ;D (;", "winking face"),
        (":P :-p =P", "face with tongue"),
        (":/ :-/ :\\ =/ :S", "confused face"),
        (":o :-O o_O O.O o_o 0_0", "surprised face"),
        ("-_- -__- -.- =_=", "expressionless face"),
        (">:( >:-( :@", "angry face"),
        (">:) >:D", "smiling face with horns"),
        ("<3 <33333 &lt;3 ♡", "red heart"),
        ("</3", "broken heart"),
        (">_< >.< ><", "frustrated face"),
        ("¯\\_(ツ)_/¯ ¯_(ツ)_/¯", "person shrugging"),
        ("x_x X_X @_@", "dizzy face"),
        (":* :-*", "kissing face"),
    ] {
        for emoticon in emoticons.split(' ') {
            let expected = if emoticon == "TT_TT" { "tt tt" } else { shown };
            assert_eq!(plain(emoticon), expected, "{emoticon}");
            assert_eq!(plain(&format!("a {emoticon} b")), format!("a {expected} b"), "{emoticon}");
        }
    }
    assert_eq!(read("ok :-)").words[1].source, 3..6);
    assert_eq!(plain(":) :) :) :)"), "smiling face smiling face");
}

#[test]
fn what_only_resembles_an_emoticon_stays() {
    assert_read(&[
        (":Delta 10:30 key:/path a:b", ": delta 10 : 30 key : path a : b"),
        ("(see this): next", "see this : next"),
        ("x=D xdata --- ___ *** ... 2<3 1.0.0", "x d xdata ... 2 3 1.0.0"),
        ("nice:) bad:-(", "nice smiling face bad frowning face"),
    ]);
}

#[test]
fn a_stretched_word_is_the_known_one_behind_it() {
    assert_read(&[
        ("soooo nooo yesssss pleaseeee", "so no yes please"),
        ("goooood coooool tooooo offff alllll", "good cool too off all"),
        ("helllo loooove LOOOOVE haaate awwwww hmmmm", "hello love love hate aww hmm"),
        ("#soooooTired h e l l l l o", "so tired hello"),
        ("brzzzz aaabbbcccdddeee", "brzz aabbccddee"),
        ("World War III, 10000 1111", "world war iii , 10000 1111"),
    ]);
    let reading = read("Sooo good");
    assert!(reading.words[0].stretched && !reading.words[1].stretched);
}

#[test]
fn spaced_letters_are_joined_where_known_words_come_of_it() {
    assert_read(&[
        ("h a t e this, I h a t e y o u!", "hate this , i hate you !"),
        ("H A T E #h_a_t_e", "hate hate"),
        ("L*O*V*E", "love"),
        ("a b c d, w o w, q x z v k", "a b c d , w o w , q x z v k"),
        ("so s a d", "so s a d"),
    ]);
    let text = "they H A T E it";
    let reading = read(text);
    let joined = word(&reading, "hate");
    assert!(joined.shouted);
    assert_eq!(&text[joined.source.clone()], "H A T E");
}

#[test]
fn look_alikes_are_folded_in_words_of_two_scripts_alone() {
    assert_read(&[
        ("hаte Ηello fuсk", "hate hello fuck"),
        ("cказал Привет", "сказал привет"),
        ("хата ατα", "хата ατα"),
        // Letters that look like none of the other script.
        ("βeta яda", "βeta яda"),
    ]);
}

#[test]
fn shouting_is_noted_before_the_case_is_folded() {
    let reading = read("I HATE Hate hATE 2DAY ОЧЕНЬ 日本 U.S. OK2");
    let shouted: Vec<&str> = reading.words.iter().filter(|w| w.shouted).map(|w| w.text.as_str()).collect();
    assert_eq!(shouted, ["hate", "2day", "очень", "ok2"]);
    assert_read(&[("İSTANBUL STRASSE Straße ΣΑΣ", "istanbul strasse straße σασ")]);
}

#[test]
fn scripts_without_blanks_are_split_by_unicode_s_word_boundaries() {
    assert_read(&[
        ("我喜欢。カタカナ한국어", "我 喜 欢 . カタカナ 한국어"),
        ("don’t字iPhone字3.5", "don't 字 iphone 字 3.5"),
    ]);
    assert_eq!(read("สวัสดีครับ ភាសាខ្មែរ").plain().replace(' ', ""), "สวัสดีครับភាសាខ្មែរ");
}

#[test]
fn no_word_is_longer_than_forty_characters() {
    for endless in ["ab", "ア", "7", "1a", "é", "क्ष", "a'", "#ab", "1.", "Ⓐb"] {
        let reading = read(&endless.repeat(3_000));
        assert!(!reading.words.is_empty(), "{endless}");
        assert!(reading.words.iter().all(|word| word.text.chars().count() <= 40), "{endless}");
        assert_eq!(plain(&reading.plain()), reading.plain(), "{endless}");
    }
}

#[test]
fn sentence_marks_are_tokens_and_other_signs_are_not() {
    let reading = read("Hi!!!!! Really?? (yes) 50% r&b; a:b, *x* [y] ~z~ €5 — ok.");
    assert_eq!(reading.plain(), "hi !!! really ?? yes 50 r b ; a : b , x y z 5 ok .");
    let marks = word(&reading, "!!!");
    assert_eq!((marks.kind, marks.stretched, marks.source.clone()), (WordKind::Punctuation, true, 2..7));
    assert_read(&[
        ("why ?!?!?! . , ! so", "why ? ! ? so"),
        ("你好！、；？ مرحبا؟ नमस्ते।", "你 好 ! , ; مرحبا ? नमस्ते ."),
    ]);
    let only: Vec<&str> = reading.words_only().map(|word| word.text.as_str()).collect();
    assert_eq!(only, ["hi", "really", "yes", "50", "r", "b", "a", "b", "x", "y", "z", "5", "ok"]);
}

#[test]
fn numbers_keep_the_marks_between_digits() {
    let reading = read("1,000.50 3.14. 10:30 gr8 1st ٣٫٥ 2.0.1,");
    assert_eq!(reading.plain(), "1,000.50 3.14 . 10 : 30 gr8 1st ٣ ٥ 2.0.1 ,");
    assert_eq!(word(&reading, "1,000.50").kind, WordKind::Number);
    assert_eq!(word(&reading, "gr8").kind, WordKind::Word);
}

#[test]
fn a_reading_is_truncated_where_there_are_more_words() {
    let reader = Reader::with_max_words(3);
    for (text, truncated) in [("a b c", false), ("a b c https://x.y @z ~", false), ("ab b c d", true), ("😀😀", true)]
    {
        let reading = reader.read(text);
        assert_eq!((reading.words.len(), reading.truncated), (3, truncated), "{text}");
    }
    assert!(!Reader::with_max_words(0).read("").truncated);
    assert_eq!(Reader::new().read(&"word ".repeat(1_000)).words.len(), 160);
}

#[test]
fn nothing_is_read_behind_the_bytes_that_a_reading_may_look_at() {
    let text = format!("a {}b", "https://x.y ".repeat(20_000));
    let reading = read(&text);
    assert_eq!((reading.plain().as_str(), reading.truncated), ("a", true));
}

#[test]
fn a_text_of_nothing_is_read_as_nothing() {
    assert_read(&[("", ""), (" \t\n\u{3000}\u{2800}", ""), ("\u{200B}\u{FEFF}", ""), ("--- *** ~~~", "")]);
}

/// Letters of the scripts most used, signs, emoji.
const IN_USE: &str = "[ -~¡-ɏ\u{300}-\u{36F}Ͱ-ϿЀ-ӿא-תء-يऀ-ॿก-ฺぁ-ヿ一-鿿가-힣‐-⁞←-⇿☀-➿😀-🙏🚀-🛒]{0,6}";

/// Pieces that rules are about, among `anything` else.
fn social_text(anything: &'static str) -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    let piece = prop_oneof![
        3 => anything,
        3 => "[a-zA-Z']{1,9}",
        1 => "[a-c]{1,8}",
        1 => "[#@$&:;=.,!?'_*()/<>^-]{1,4}",
        1 => "[a-e0-9.@/_]{1,12}",
        1 => "[аеоксТ\u{301}\u{200D}\u{200B}\u{FE0F}👨❤🇩🏽1️⃣İßﬁ字ア한ｶﾞ]{1,6}",
        1 => prop::sample::select(vec![
            "https://a.b/c", "www.x.yz", "a@b.de", "@me", "#GoodMorning", "#ihateyou", "soooo", "&amp;", "&lt;3",
            ":)", "xD", "T_T", "h a t e", "😂😂😂", "❤️", "é", "1,000.5", "III", "http://", "a.com",
        ]).prop_map(str::to_owned),
    ];
    prop::collection::vec((piece, prop::bool::ANY), 0..12)
        .prop_map(|pieces| pieces.into_iter().map(|(piece, blank)| if blank { piece + " " } else { piece }).collect())
}

proptest::proptest! {
    #[test]
    fn ranges_are_in_order_within_the_text_and_on_characters(text in social_text("\\PC{0,6}")) {
        let reading = read(&text);
        let mut last = 0;
        for word in &reading.words {
            proptest::prop_assert!(!word.text.is_empty() && !word.text.contains(char::is_whitespace), "{word:?}");
            proptest::prop_assert!(word.text.chars().count() <= 40, "{word:?}");
            proptest::prop_assert!(last <= word.source.start && word.source.start < word.source.end, "{word:?}");
            proptest::prop_assert!(text.get(word.source.clone()).is_some(), "{word:?}");
            last = word.source.start;
        }
    }

    #[test]
    fn any_text_at_all_is_read(text in "(?s).{0,200}") {
        read(&text);
    }

    /// In scripts that are in use: what Unicode parts from a neighbour of a rare script may be an emoticon by itself.
    #[test]
    fn what_was_read_is_read_again_as_the_same_words(text in social_text(IN_USE)) {
        let once = read(&text);
        let again = read(&once.plain());
        proptest::prop_assert_eq!(again.plain(), once.plain());
    }
}
