use jtav_schemas::UncertainBecause;
use proptest::prelude::*;

use super::*;

/// Of the examples of the schema.
fn example() -> SentimentV1 {
    serde_json::from_str(include_str!("../../../schemas/examples/sentiment.v1/valid-full.json")).unwrap()
}

fn text(text: &str) -> Vec<TextPart> {
    vec![TextPart { role: "body".to_owned(), text: text.to_owned() }]
}

#[test]
fn shares_are_of_what_moved_the_label() {
    let explanation = Explanation::of(&example(), None);
    let shares: Vec<f32> = explanation.parts.iter().map(|part| part.share).collect();
    assert_eq!(shares, [0.8, 0.13333334, 0.0]);
    assert_eq!(explanation.parts[2].status, "not_found");
}

#[test]
fn words_have_places_where_the_texts_are_given_and_are_those_that_were_read() {
    let places = |explanation: &Explanation| -> Vec<Option<(u32, u32, u32)>> {
        let place = |word: &Word| Some((word.text_index?, word.start?, word.end?));
        explanation.words.iter().map(place).collect()
    };
    let sentiment = example();
    assert_eq!(places(&Explanation::of(&sentiment, None)), [None, None]);
    let there = Explanation::of(&sentiment, Some(&text("The LIGHT in the Harbour")));
    assert_eq!(places(&there), [Some((0, 4, 9)), Some((0, 17, 24))]);
    let edited = Explanation::of(&sentiment, Some(&text("The light in a harbour town and no")));
    assert_eq!(places(&edited), [Some((0, 4, 9)), Some((0, 15, 22))]);
    assert_eq!(places(&Explanation::of(&sentiment, Some(&text("A dark harbour")))), [None, None]);
}

#[test]
fn its_json_is_what_the_contract_says() {
    let mut sentiment = example();
    sentiment.attention.image_cells =
        vec![ImageCell { row: 2, column: 1, weight: 0.5 }, ImageCell { row: 7, column: 0, weight: 0.4 }];
    let json = serde_json::to_value(Explanation::of(&sentiment, None)).unwrap();
    assert_eq!(json["label"], "positive");
    assert_eq!(json["parts"][1]["modality"], "audio");
    assert_eq!(json["seconds"][0]["fragment"], "/v1/posts/p-1/sound.wav#t=3.5,5.25");
    assert_eq!(json["cells"][0]["fragment"], "/v1/posts/p-1/picture.png#xywh=percent:14.29,28.57,14.29,14.29");
    assert_eq!(json["cells"].as_array().unwrap().len(), 1, "one beyond the grid can be shown nowhere");
    assert!(json.get("uncertain_because").is_none() && json["words"][0].get("start").is_none());
    sentiment.contributions = None;
    let json = serde_json::to_value(Explanation::of(&sentiment, None)).unwrap();
    assert_eq!((&json["contributions"], &json["parts"][0]["share"]), (&serde_json::Value::Null, &0.0.into()));
    let back: Explanation = serde_json::from_value(json).unwrap();
    assert_eq!(back, Explanation::of(&sentiment, None));
}

#[test]
fn the_sentences_say_what_decided_what_is_missing_and_why_it_is_not_certain() {
    let mut sentiment = example();
    assert_eq!(
        Explanation::of(&sentiment, None).sentences,
        [
            "The post is positive, with a probability of 70 %; certain.",
            "The text decided: 80 % of what moved the label; \"light\" and \"harbour\" weighed most.",
            "In the clip the stretch from second 3.5 to 5.25 was listened to most.",
            "The picture was not used: its host answered that it is not there (404 or 410).",
            "The clip sounds happy and lively (Q1, 70 %).",
        ]
    );
    sentiment.certain = false;
    sentiment.uncertain_because = Some(UncertainBecause::LanguageNotCovered);
    sentiment.contributions = Some(Contributions { text: 1.0, audio: -1.0, image: 0.0, interaction: 1.0 });
    sentiment.truncated = vec![Modality::Text];
    let said = Explanation::of(&sentiment, None).sentences;
    for sentence in [
        "Not certain: the text is in a language (en) the model was not measured on.",
        "The text (33 % of what moved the label) and the clip (33 %) decided together; \"light\" and \"harbour\" weighed most.",
        "Read together the parts say something else than each by itself: 33 % of what moved the label.",
        "The text speaks for positive, the clip for negative.",
        "Only the beginning of the texts was read; the post has more.",
    ] {
        assert!(said.iter().any(|said| said == sentence), "{sentence}\nnot in {said:#?}");
    }
}

#[test]
fn a_post_of_text_alone_had_nothing_else_to_go_by() {
    let mut sentiment = example();
    sentiment.modalities.audio = ModalityStatus::Absent(jtav_schemas::AbsentReason::Absent);
    sentiment.contributions = Some(Contributions { text: -3.0, ..Contributions::default() });
    let said = Explanation::of(&sentiment, None).sentences;
    assert_eq!(said[1], "There was nothing but the text to go by; \"light\" and \"harbour\" weighed most.");
}

proptest! {
    /// A record may come from anywhere: no number in it panics, and what is said is finite.
    #[test]
    fn any_record_is_explained(
        numbers in prop::collection::vec(any::<f32>(), 8),
        id in "\\PC{1,20}",
        words in prop::collection::vec(("\\PC{0,12}", any::<u32>()), 0..6),
        body in "\\PC{0,60}",
    ) {
        let mut sentiment = example();
        sentiment.post_id = id;
        sentiment.confidence = numbers[0];
        sentiment.threshold = numbers[1];
        let [text, audio, image, interaction] = [numbers[2], numbers[3], numbers[4], numbers[5]];
        sentiment.contributions = Some(Contributions { text, audio, image, interaction });
        sentiment.attention.words =
            words.into_iter().map(|(word, position)| WordWeight { word, position, weight: numbers[6] }).collect();
        sentiment.attention.audio_spans =
            vec![AudioSpan { start_seconds: numbers[6], end_seconds: numbers[7], weight: numbers[5] }];
        let texts = vec![TextPart { role: String::new(), text: body }];
        let explanation = Explanation::of(&sentiment, Some(&texts));
        let all: f32 = explanation.parts.iter().map(|part| part.share).sum();
        prop_assert!((0.0..=1.0001).contains(&all), "{all}");
        let second = &explanation.seconds[0];
        prop_assert!(second.start_seconds >= 0.0 && second.end_seconds >= second.start_seconds);
        prop_assert!(second.end_seconds.is_finite() && !second.fragment.contains("inf"));
        prop_assert!(!explanation.sentences.is_empty());
    }
}
