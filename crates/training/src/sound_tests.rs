use super::*;

fn noise(seed: u32) -> impl FnMut() -> f32 {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    }
}

/// Music has a large first value; the next ones are merry in music and sad in speech; some of the chords' say the mood.
fn examples(count: usize) -> Vec<SoundExample> {
    let mut draw = noise(3);
    let example = |at: usize| {
        let (is_music, positive) = (at.is_multiple_of(2), at % 4 < 2);
        let mut statistics: Vec<f32> = (0..STATISTICS).map(|_| draw()).collect();
        statistics[0] += if is_music { 5.0 } else { -5.0 };
        statistics[1..20].iter_mut().for_each(|value| *value += if is_music == positive { 2.0 } else { -2.0 });
        let mood = (at / 4) % 4;
        statistics[145 + 6 * mood..][..6].iter_mut().for_each(|value| *value += 5.0);
        let mood = is_music.then_some(mood);
        SoundExample { statistics, positive, is_music, mood, group: format!("group {}", at / 8) }
    };
    (0..count).map(example).collect()
}

#[test]
fn music_and_speech_may_ask_opposite_things_of_one_value() {
    let examples = examples(320);
    let fitted = fit_sound(&examples, 1).unwrap();
    let right = fitted.held_out.iter().zip(&examples).filter(|(logit, example)| (**logit > 0.0) == example.positive);
    let right = right.count();
    assert!(right > 310, "{right} of 320");
    assert!(fitted.mood_accuracy.unwrap() > 0.9, "{:?}", fitted.mood_accuracy);
    assert!(fitted.statistics.music.weight[1] > 0.1 && fitted.statistics.speech.weight[1] < -0.1);
    let again = fit_sound(&examples, 1).unwrap();
    assert_eq!((again.held_out, again.statistics), (fitted.held_out, fitted.statistics));
}

#[test]
fn a_set_of_one_kind_and_one_without_labels_to_tell_apart_are_fitted_too() {
    let music: Vec<SoundExample> = examples(80).into_iter().filter(|example| example.is_music).collect();
    let fitted = fit_sound(&music, 1).unwrap().statistics;
    assert_eq!(fitted.gate.bias, 20.0);
    let verdict = fitted.judge(&music[0].statistics).unwrap();
    assert!(verdict.logit > 0.0 && music[0].positive);
    let positive: Vec<SoundExample> = examples(40).into_iter().map(|e| SoundExample { positive: true, ..e }).collect();
    assert_eq!(fit_sound(&positive, 1).unwrap().held_out, vec![0.0; 40]);
    let nothing = fit_sound(&[], 1).unwrap();
    assert!(nothing.held_out.is_empty() && nothing.mood_accuracy.is_none());
    assert_eq!(nothing.statistics.judge(&[1.0; STATISTICS]).unwrap().logit, 0.0);
}

#[test]
fn a_value_that_never_changes_and_one_far_out_do_no_harm() {
    let mut examples = examples(80);
    for example in &mut examples {
        example.statistics[7] = 3.0;
    }
    examples[5].statistics[9] = 1e30;
    let fitted = fit_sound(&examples, 1).unwrap();
    assert_eq!(fitted.statistics.music.weight[7], 0.0);
    assert!(fitted.held_out.iter().all(|logit| logit.is_finite()));
}

#[test]
fn clips_without_their_statistics_are_input_errors() {
    let mut short = examples(8);
    short[3].statistics.pop();
    assert!(matches!(fit_sound(&short, 1), Err(ModelError::Input(_))));
    let mut broken = examples(8);
    broken[3].statistics[1] = f32::NAN;
    assert!(matches!(fit_sound(&broken, 1), Err(ModelError::Input(_))));
    let mut strange = examples(8);
    strange[3].mood = Some(4);
    assert!(matches!(fit_sound(&strange, 1), Err(ModelError::Input(_))));
}

#[test]
fn a_network_is_added_as_far_as_it_helps_and_not_at_all_where_it_does_not() {
    let mut draw = noise(11);
    let positive: Vec<bool> = (0..400).map(|_| draw() > 0.0).collect();
    let groups: Vec<String> = (0..400).map(|at| (at / 4).to_string()).collect();
    let sign = |label: &bool| if *label { 1.0 } else { -1.0 };
    let statistics: Vec<f32> = positive.iter().map(|label| sign(label) * 0.5 + draw()).collect();
    let helpful: Vec<f32> = positive.iter().map(|label| sign(label) * 1.0 + 2.0 * draw()).collect();
    let weight = stack_weight(&statistics, &helpful, &positive, &groups, 1);
    assert!((0.3..3.0).contains(&weight), "{weight}");
    let opposite: Vec<f32> = helpful.iter().map(|logit| -logit).collect();
    assert_eq!(stack_weight(&statistics, &opposite, &positive, &groups, 1), 0.0);
    assert_eq!(stack_weight(&statistics, &[0.0; 400], &positive, &groups, 1), 0.0);
    assert_eq!(stack_weight(&[], &[], &[], &[], 1), 0.0);
    let parted: Vec<f32> = positive.iter().map(|label| sign(label) * 5.0).collect();
    assert!(stack_weight(&statistics, &parted, &positive, &groups, 1).is_finite());
}
