//! What a card says of every checkpoint.

/// What is said of a pack that is known by name.
pub(super) const POLARITY_POSTS: &str = "\
Synthetic posts made of real media, put together at random inside each polarity:

| part | source | terms |
|---|---|---|
| captions | VADER tweets (Hutto & Gilbert 2014) | MIT as published; the texts were written by their authors |
| bodies | VADER Amazon and movie review snippets (Hutto & Gilbert 2014) | as above |
| music | EMOPIA 1.0 (Hung et al. 2021), piano MIDI rendered to audio | CC BY-NC-SA 4.0; compositions stay with their owners |
| speech | RAVDESS (Livingstone & Russo 2018), acted English | CC BY-NC-SA 4.0 |
| pictures | OASIS (Kurdi, Lozano & Banaji 2017) | free for research use |

Music and speech are licensed for non-commercial use, and so are these weights: treat them as CC BY-NC-SA 4.0. The
program around them is MIT or Apache-2.0; that does not extend to this folder. The base weights are not in it and have
licences of their own (above).
";

pub(super) const RATED_TEXTS: &str = "\
The text network learned from `rated-texts.jsonl`: the published ratings of the same tweets and review snippets, as the
shares of the raters' votes, neutral ones among them, without any text or review that another split of the pack holds; a
tenth of it was sealed. Beside them it read changed copies of them and sentences that were made from templates (negation,
emoji, facts).
";

pub(super) const OWN_TEXTS: &str = "\
There were no rated texts, so the text network learned from the pack's own labels, knows no neutral text and says neutral
only by accident.
";

pub(super) const LIMITS: &str = "\
- **Pairing is synthetic.** The parts of a post were drawn independently given its label. The best rule for such posts
  adds the evidence of the parts, so no figure here is evidence of cross-modal interaction.
- **The posts know no neutral.** Every post of the pack is positive or negative, so its three-way figures say how often a
  label is not neutral and right, and nothing of how well neutral is told. Sets of single texts do
  (`jtav evaluate --texts`).
- **Neutral without a text is a rule**, not a finding: no picture or clip of the data is rated neutral. Where the media
  say little, the label is neutral by a constant.
- **English tweets and short review snippets** of about 2004 to 2014. Later slang is not covered.
- **Other languages are near chance**, and some lean to one side. A text in a language that was not measured, or one that
  cannot be told, is never labelled for certain; the label is still there, and is worth nothing.
- **Sarcasm is not understood.** On ironic posts expect the literal reading, and often with certainty. So too for wishes
  (\"could be better\" is taken for praise) and for good news in bad words (\"no one died\").
- **One kind part outvotes a hostile one.** A caption of three loving words, or a row of hearts, can turn a hateful body
  into a positive label that is certain: evidence is weighed and not checked for contradiction.
- **Short English is often in no language that can be told** (\"not good\", \"what a lovely day\"), and so never certain; so are
  words in disguised letters. The label reads them all the same.
- **Mixed and empty of sentiment are both neutral.** The record does not tell them apart. A head trained to do so reached
  an AUC of .78 on texts that raters called neutral, and .71 to .74 inside one source: a hint, and no label.
- **VADER's lexicon was built on these very tweets**, and its score is a part of the text network. Figures on tweets, and
  so on the captions of the pack, flatter.
- **The open half of the common-sense set is not clean.** Some of its sentences had been read when the templates of the
  training sentences were written, and some are like them, most of all those with emoji. Only the sealed half says what
  new sentences would.
- **Audio is piano music rendered from MIDI and speech by 24 actors.** Spontaneous speech, songs with voices and field
  recordings were never heard.
- **Pictures are a few hundred photographs from one set**, rated by how they make people feel. Of screenshots, memes and
  writing in pictures nothing is known.
- **Few files stand behind the audio and image figures**, and the intervals, which draw texts, clips and pictures again,
  say so. That clips of a song and pictures of a theme are alike, they do not know.
- The number of epochs was chosen on validation, so its figures are a little too good. The test figures were computed
  once, from the files in this folder; if the split was scored before for other weights, a note under the figures says so.
";

pub(super) const FORBIDDEN: &str = "\
This checkpoint exists so that the demonstration and the tests have real networks to run. It must not be used

- to decide anything about people: moderation without a person who looks, ranking of authors, hiring, credit, health,
  policing, or any inference about who somebody is or how they feel;
- to notice people in danger: despair and threats are labelled like any other text, and missed like any other;
- commercially, in any form (the media are licensed for non-commercial use);
- on languages other than English, or as evidence that the modalities interact;
- as a baseline of what this architecture can do with proper data.
";

pub(super) const TRAINING: &str = "\
The base weights stay as they are. Each encoder was trained alone with its own head; texts, clips and pictures were also
judged out of fold, by networks that had not seen them, and the probabilities, the weights of the parts and the thresholds
of certain labels were fitted on that. CMF-AP was trained on the frozen vectors, with modality dropout, and is trusted as
far as cross-validation gains by it. Validation decided how many epochs the audio network and CMF-AP were trained for.
";
