//! One text to learn from, and what it is to teach.

/// Role of a text by itself, and of the longer one of a pair.
pub const BODY_ROLE: &str = "body";
/// Role of the shorter text of a pair.
pub const CAPTION_ROLE: &str = "caption";

/// What readers make of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rating {
    /// Shares of the votes: negative, neutral, positive. Their sum is 1.
    pub votes: [f32; 3],
    /// Mean of the ratings, -4 (worst) to 4 (best).
    pub mean: f32,
}

impl Rating {
    /// How far readers find both good and bad in it: twice the smaller share of the two sides, 0 to 1.
    pub fn mixed(&self) -> f32 {
        2.0 * self.votes[0].min(self.votes[2])
    }

    /// No feeling prevails: the mean is at most .5 from 0, as `neutral_band` of the rated texts has it.
    pub fn is_neutral(&self) -> bool {
        self.mean.abs() <= 0.5
    }

    /// `share` of this rating and the rest of another: its votes and its mean.
    pub(super) fn blended(&self, share: f32, other: &Self) -> Self {
        let blend = |a: f32, b: f32| share * a + (1.0 - share) * b;
        Self {
            votes: std::array::from_fn(|class| blend(self.votes[class], other.votes[class])),
            mean: blend(self.mean, other.mean),
        }
    }
}

/// Where a training text comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// A rated text as it is.
    Rated,
    /// A rated text in other clothes: case, typos, stretched letters, emoji, hashtags.
    Augmented,
    /// Two rated texts in one, the second of which turns the first or adds to it.
    Join,
    /// Two rated texts as the body and the caption of one post.
    Pair,
    /// A made-up sentence with a negation.
    Template,
    /// Emoji are all the feeling it has: after a text without any, or by themselves.
    EmojiOnly,
}

/// One text to learn from.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingText {
    /// Role and text of each part, as a post has them; the longest comes first. Not yet read (entities, emoji and
    /// hashtags are as somebody would post them).
    pub parts: Vec<(&'static str, String)>,
    /// Target of the three classes negative, neutral, positive; the sum is 1.
    pub votes: [f32; 3],
    /// Target of the valence: the mean rating by 4, -1 to 1.
    pub mean: f32,
    /// Target of the mixed head, 0 to 1 ([`Rating::mixed`]).
    pub mixed: f32,
    /// Weight in the loss.
    pub weight: f32,
    pub origin: Origin,
    /// Fold of the rated texts that are in it; `None` when there is none.
    pub fold: Option<u8>,
}

impl TrainingText {
    /// A text of one part, with weight 1.
    pub(super) fn new(text: String, rating: &Rating, origin: Origin, fold: Option<u8>) -> Self {
        Self::of_parts(vec![(BODY_ROLE, text)], rating, origin, fold)
    }

    pub(super) fn of_parts(
        parts: Vec<(&'static str, String)>,
        rating: &Rating,
        origin: Origin,
        fold: Option<u8>,
    ) -> Self {
        let (votes, mean) = (rating.votes, rating.mean / 4.0);
        Self { parts, votes, mean, mixed: rating.mixed(), weight: 1.0, origin, fold }
    }
}
